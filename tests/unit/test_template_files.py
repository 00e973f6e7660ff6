"""The stack as files: what `create --dry-run --output` writes, without asking any cloud."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudmesh_cluster.keys import public_of, read_private
from cloudmesh_cluster.template import BOOTSTRAP_PRIVATE_KEY
from tests.command_line import CommandLine

PROVIDERS = """\
dc:
  type: openstack
  os_cloud: there-is-no-such-cloud
  image: debian-12
  flavor: m1.small
  external_network: public
  ssh_from: 192.0.2.7/32
"""
CREATE = ("cluster", "create", "t", "--provider", "dc", "-n", "2", "--dry-run")


@pytest.fixture
def offline(cm: CommandLine) -> CommandLine:
    """Return `cm` with a provider whose settings leave nothing to ask."""
    providers = cm.home / "providers.yaml"
    providers.touch(mode=0o600)
    providers.write_text(PROVIDERS, encoding="utf-8")
    return cm


def loaded(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_files_are_complete_and_private(offline: CommandLine, tmp_path: Path) -> None:
    """Template, parameters and a key pair of their own: whole, for their owner only; the home stays as it was."""
    folder = tmp_path / "new" / "files"
    before = sorted(offline.home.rglob("*"))
    answer = offline(*CREATE, "--output", str(folder))
    template, environment = loaded(folder / "template.yaml"), loaded(folder / "env.yaml")

    assert f"openstack stack create --wait -t {folder}/template.yaml -e {folder}/env.yaml cm-t" in answer.stderr
    assert answer.stdout.startswith("cluster t: 1 master and 2 workers")
    assert sorted(offline.home.rglob("*")) == before
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["env.yaml", "id_ed25519", "id_ed25519.pub", "template.yaml"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert set(environment["parameters"]) == set(template["parameters"])
    servers = [name for name in template["resources"] if name.startswith("server_")]
    assert servers == ["server_0", "server_1", "server_2"]


def test_key_opens_what_the_parameters_say(offline: CommandLine, tmp_path: Path) -> None:
    """The key beside the files is the nodes' login key; the bootstrap key is in the hidden parameter alone."""
    offline(*CREATE, "--output", str(tmp_path / "files"))
    template, given = (loaded(tmp_path / "files" / name) for name in ("template.yaml", "env.yaml"))
    public = public_of(read_private(tmp_path / "files" / "id_ed25519"), "cm-login t")

    assert given["parameters"]["login_public_key"] == public
    assert (tmp_path / "files" / "id_ed25519.pub").read_text() == f"{public}\n"
    assert public in given["parameters"]["user_data"]
    assert BOOTSTRAP_PRIVATE_KEY in given["parameters"]["last_user_data"]
    secret = given["parameters"]["bootstrap_private_key"]
    assert secret not in str(template) + given["parameters"]["last_user_data"] + given["parameters"]["user_data"]


def test_keys_are_fresh(offline: CommandLine, tmp_path: Path) -> None:
    """No two calls write the same keys."""
    for name in ("a", "b"):
        offline(*CREATE, "--output", str(tmp_path / name))
    one, other = (loaded(tmp_path / name / "env.yaml")["parameters"] for name in ("a", "b"))

    assert one["login_public_key"] != other["login_public_key"]
    assert one["bootstrap_private_key"] != other["bootstrap_private_key"]


def test_nothing_is_overwritten(offline: CommandLine, tmp_path: Path) -> None:
    """A folder that has one of the files is refused before anything is written."""
    (tmp_path / "env.yaml").write_text("mine")
    answer = offline(*CREATE, "--output", str(tmp_path), expect=2)

    assert "env.yaml is there already" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["env.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--provider", "local", "--dry-run", "--output", "files"), "provider local makes no stack"),
        (("--provider", "dc", "--output", "files"), "--output goes with --dry-run"),
        (("--provider", "dc", "--dry-run", "--output", "/proc/files"), "--output /proc/files: "),
        (("--provider", "local", "--dry-run", "--floating-ip", "all"), "--floating-ip: provider 'local'"),
        (("--provider", "local", "--dry-run", "--os-cloud", "x"), "--os-cloud: provider 'local'"),
        (("--provider", "dc", "--dry-run", "--floating-ip", "some"), "invalid choice: 'some'"),
    ],
)
def test_wrong_options(offline: CommandLine, words: tuple[str, ...], message: str) -> None:
    """Options that make no sense there are wrong usage that says so; nothing is written."""
    before = sorted(offline.home.rglob("*"))
    answer = offline("cluster", "create", "t", *words, expect=2, cwd=offline.home)

    assert message in answer.stderr
    assert sorted(offline.home.rglob("*")) == before


def test_floating_ips_are_as_the_option_says(offline: CommandLine, tmp_path: Path) -> None:
    """`--floating-ip` wins over providers.yaml."""
    found = {}
    for word in ("master", "all", "none"):
        offline(*CREATE, "--floating-ip", word, "--output", str(tmp_path / word))
        resources = loaded(tmp_path / word / "template.yaml")["resources"]
        found[word] = sorted(name for name in resources if name.startswith("floating_ip"))

    assert found == {
        "master": ["floating_ip_0"],
        "all": ["floating_ip_0", "floating_ip_1", "floating_ip_2"],
        "none": [],
    }
