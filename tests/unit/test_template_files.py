"""The stack as files: what `create --dry-run --output` writes, without asking any cloud."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node, Profile, RoleSpec, node_names
from cloudmesh_cluster.nodes.keys import public_of, read_private
from cloudmesh_cluster.operations.plan import Plan
from cloudmesh_cluster.operations.template_files import write_template_files
from cloudmesh_cluster.providers.openstack.template import BOOTSTRAP_PRIVATE_KEY
from tests.support.command_line import CommandLine

SETTINGS = {"os_cloud": "there-is-none", "external_network": "public", "ssh_from": "192.0.2.7/32"}


def plan(**settings: str) -> Plan:
    """Return the plan of a cluster of which everything is known, so that no cloud is asked."""
    spec = RoleSpec(1, image="debian-12", flavor="m1.small")
    names = node_names("t", 2)
    return Plan(
        cluster="t",
        provider="dc",
        provider_type="openstack",
        provider_settings={**SETTINGS, **settings},
        why="--provider",
        profile=Profile("default", "", master=spec, worker=replace(spec, count=2)),
        network="10.88.0.0/24",
        nodes=tuple(
            Node(name, "worker" if i else "master", i, "planned", f"10.88.0.{10 + i}") for i, name in enumerate(names)
        ),
        plugins=(),
        checks=(),
        needs_internet=False,
        notes=(),
    )


def write(home: Path, folder: Path, **settings: str) -> str:
    """Write the files of the plan, and return the line that makes a stack of them."""
    return write_template_files(Home(home, home), plan(**settings), folder).command


def loaded(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_files_are_complete_and_private(home: Path, tmp_path: Path) -> None:
    """Template, parameters and a key pair of their own: whole, for their owner only; the home stays as it was."""
    folder = tmp_path / "new" / "files"
    command = write(home, folder)
    template, environment = loaded(folder / "template.yaml"), loaded(folder / "env.yaml")

    files = f"-t {folder}/template.yaml -e {folder}/env.yaml"
    assert command == f"openstack stack create --wait {files} --tags cm,cm-cluster-t cm-t"
    assert list(home.iterdir()) == []
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["env.yaml", "id_ed25519", "id_ed25519.pub", "template.yaml"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert set(environment["parameters"]) == set(template["parameters"])
    servers = [name for name in template["resources"] if name.startswith("server_")]
    assert servers == ["server_0", "server_1", "server_2"]


def test_key_opens_what_the_parameters_say(home: Path, tmp_path: Path) -> None:
    """The key beside the files is the nodes' login key; the bootstrap key is in the hidden parameter alone."""
    write(home, tmp_path / "files")
    template, given = (loaded(tmp_path / "files" / name) for name in ("template.yaml", "env.yaml"))
    public = public_of(read_private(tmp_path / "files" / "id_ed25519"), "cm-login t")

    assert given["parameters"]["login_public_key"] == public
    assert (tmp_path / "files" / "id_ed25519.pub").read_text() == f"{public}\n"
    assert public in given["parameters"]["user_data"]
    assert BOOTSTRAP_PRIVATE_KEY in given["parameters"]["last_user_data"]
    secret = given["parameters"]["bootstrap_private_key"]
    assert secret not in str(template) + given["parameters"]["last_user_data"] + given["parameters"]["user_data"]


def test_folder_that_cannot_be_made(home: Path) -> None:
    """A folder that can't be made is wrong usage."""
    with pytest.raises(UsageError, match="--output /proc/files: "):
        write(home, Path("/proc/files"))


def test_keys_are_fresh(home: Path, tmp_path: Path) -> None:
    """No two calls write the same keys."""
    for name in ("a", "b"):
        write(home, tmp_path / name)
    one, other = (loaded(tmp_path / name / "env.yaml")["parameters"] for name in ("a", "b"))

    assert one["login_public_key"] != other["login_public_key"]
    assert one["bootstrap_private_key"] != other["bootstrap_private_key"]


def test_nothing_is_overwritten(home: Path, tmp_path: Path) -> None:
    """A folder that has one of the files is refused before anything is written."""
    (tmp_path / "env.yaml").write_text("mine")
    with pytest.raises(UsageError, match="env.yaml is there already"):
        write(home, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["env.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--provider", "local", "--dry-run", "--output", "files"), "provider local makes no stack"),
        (("--provider", "openstack", "--output", "files"), "--output goes with --dry-run"),
        (("--provider", "local", "--dry-run", "--floating-ip", "all"), "--floating-ip: provider 'local'"),
        (("--provider", "local", "--dry-run", "--os-cloud", "x"), "--os-cloud: provider 'local'"),
        (("--provider", "openstack", "--dry-run", "--floating-ip", "some"), "invalid choice: 'some'"),
    ],
)
def test_wrong_options(cm: CommandLine, words: tuple[str, ...], message: str) -> None:
    """Options that make no sense there are wrong usage that says so; nothing is written."""
    answer = cm("cluster", "create", "t", *words, expect=2, cwd=cm.home)

    assert message in answer.stderr
    assert list(cm.home.iterdir()) == []


def test_floating_ips_are_as_the_option_says(home: Path, tmp_path: Path) -> None:
    """The setting says which servers get one."""
    found = {}
    for word in ("master", "all", "none"):
        write(home, tmp_path / word, floating_ip=word)
        resources = loaded(tmp_path / word / "template.yaml")["resources"]
        found[word] = sorted(name for name in resources if name.startswith("floating_ip"))

    assert found == {
        "master": ["floating_ip_0"],
        "all": ["floating_ip_0", "floating_ip_1", "floating_ip_2"],
        "none": [],
    }
