"""docs/from-acluster.md: each command of ours that it names is one, and each key that it lists is read as it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cloudmesh_cluster.cli.commands.registry import TREE
from cloudmesh_cluster.cli.tree import Parser, build
from cloudmesh_cluster.cli.words import split_words
from cloudmesh_cluster.config.profile import load_profile, validate
from cloudmesh_cluster.config.providers_file import load_providers
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node, node_names
from cloudmesh_cluster.core.targets import select
from tests.support.pages import section

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from-acluster.md"
COMMANDS_OF_ACLUSTER = {
    *("create", "provision", "destroy", "list", "ssh", "cmd", "put", "get", "conda", "install", "status", "start"),
    *("restart", "stop", "open", "history", "info", "diagnostics", "function", "sync", "submit"),
    *("defaultenv", "setenv"),
}
PROFILE_KEYS = {
    *("name", "provider", "num_nodes", "node_id", "node_type", "user", "machines", "anaconda_url", "aws", "root_size"),
    *("conda_channels", "default_channels", "channel_alias", "plugins", "security", "head", "compute", "data"),
}
PROVIDER_KEYS = {
    *("cloud_provider", "keyname", "location", "private_key", "secret_id", "secret_key", "security_group", "vpc_id"),
}
VALUES = {
    "num_nodes": "4", "machines": "{head: [10.0.0.1], compute: [10.0.0.2]}", "plugins": "[hdfs, yarn, salt]",
    "conda_channels": "[http://repo]", "aws": "{tags: [a]}", "security": "{disable_selinux: true}",
    "head": "{roles: [a]}", "compute": "{roles: [a]}", "data": "{a: 1}",
}  # fmt: skip


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    lines = [line for line in section(PAGE, heading).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def keys(heading: str) -> dict[str, str]:
    """Return what a table of keys says of each."""
    return {key: row[1] for row in rows(heading) for key in re.findall(r"`(\w+)`", row[0])}


OURS = [line for row in rows("Commands") for cell in row[1:] for line in re.findall(r"`(cm [^`]+)`", cell)]


def test_every_command_and_key_of_acluster_is_there() -> None:
    """The tables leave none of acluster's commands and keys out."""
    named = {word for row in rows("Commands") for word in re.findall(r"`acluster (\w+)", row[0])}

    assert named >= COMMANDS_OF_ACLUSTER
    assert set(keys("Keys of profiles")) >= PROFILE_KEYS
    assert set(keys("Keys of providers")) == PROVIDER_KEYS


@pytest.mark.parametrize("line", OURS)
def test_our_commands_parse(line: str) -> None:
    """What is to be typed instead is understood by the real parser."""
    words = shlex.split(line.replace("NAME", "demo"))[1:]
    split = split_words([word.lower() if word == "PLUGIN" else word for word in words], TREE)

    assert split.command is not None, line
    build(TREE, Parser).parse_args(split.own)


@pytest.mark.parametrize("key", keys("Keys of profiles"))
def test_keys_of_profiles_are_read(tmp_path: Path, key: str) -> None:
    """A key is known to the reader of profiles, and is among those that are ignored if the page says so."""
    file = tmp_path / "p.yaml"
    file.write_text(f"{key}: {VALUES.get(key, 'p')}\n")
    says = keys("Keys of profiles")[key]

    assert [] == validate(file)
    if says.startswith("ignored"):
        assert any(each.startswith(f"{key}:") for each in load_profile(file).ignored)
    if says.endswith("ignored where machines are listed"):
        file.write_text(f"{key}: bare\nmachines: {VALUES['machines']}\n")
        assert any(each.startswith(f"{key}:") for each in load_profile(file).ignored)


@pytest.mark.parametrize("key", keys("Keys of providers"))
def test_keys_of_providers_are_read(tmp_path: Path, key: str) -> None:
    """A key of acluster's providers is taken, and nothing of one that is ignored is kept."""
    home = Home(tmp_path, tmp_path)
    rest = "" if key == "cloud_provider" else ", cloud_provider: none"
    home.providers_file.write_text(f"metal: {{{key}: none{rest}}}\n")
    home.providers_file.chmod(0o600)
    entry = load_providers(home).entries["metal"]

    assert entry.type == "baremetal"
    assert set(entry.settings) == ({key} if keys("Keys of providers")[key] == "as it is" else set())


def test_targets_mean_what_the_page_says() -> None:
    """Acluster's consecutive range `3,6` has three nodes, as has what the page says to write instead."""
    instead = {row[0].strip("`"): row[1].strip("`") for row in rows("Targets")}

    nodes = [
        Node(name, "worker" if index else "master", index, "running", f"10.0.0.{index}")
        for index, name in enumerate(node_names("demo", 7))
    ]

    assert [3, 4, 5] == [node.index for node in select(nodes, instead["3,6"])]
    assert [0, 1, 2] == [node.index for node in select(nodes, instead[",3"])]
