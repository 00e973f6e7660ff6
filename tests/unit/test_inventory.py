"""Inventories, read by the tools they are for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, Node
from cloudmesh_cluster.nodes.inventory import FORMATS, render
from cloudmesh_cluster.providers import provider_of

DATA = Path(__file__).parents[1] / "data" / "inventory"
CLUSTER = Cluster(
    "t",
    "ready",
    "local",
    "default",
    "2030-01-01T00:00:00Z",
    (
        Node("t-master", "master", 0, "running", "10.9.0.10", public_ip="192.0.2.7"),
        Node("t-worker-1", "worker", 1, "running", "10.9.0.11"),
        Node("t-worker-2", "worker", 2, "running", "10.9.0.12"),
    ),
)


def route(node: Node) -> dict[str, str]:
    """Return a proxy for the workers only."""
    if node.role == "master":
        return {}
    return {"ProxyCommand": f"dial '/a b' {node.private_ip} 22", "ProxyUseFdpass": "yes"}


def rendered(form: str, *, folder: Path = Path("/home/me/100% mine")) -> str:
    """Return the inventory of the cluster whose folder is `folder`."""
    return render(
        form,
        CLUSTER,
        user="alice",
        key=folder / "id_ed25519",
        known_hosts=folder / "known_hosts",
        ssh_config=folder / "ssh_config",
        route=route,
    )


@pytest.mark.parametrize("form", FORMATS)
def test_golden(form: str) -> None:
    """Each inventory is exactly the text of its file."""
    assert rendered(form) == (DATA / form).read_text()


def test_unknown_form() -> None:
    """A form that does not exist is wrong usage that knows the others."""
    with pytest.raises(NotFound) as caught:
        rendered("anible")

    assert caught.value.hint == "did you mean 'ansible'?"


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client here")
@pytest.mark.parametrize("name", ["t-worker-1", "worker-1"])
def test_ssh_understands_it(name: str, tmp_path: Path) -> None:
    """OpenSSH itself takes every option for the full and the short name, spaces and % in paths included."""
    folder = tmp_path / "100% mine"
    folder.mkdir()
    (folder / "ssh_config").write_text(rendered("ssh", folder=folder))
    asked = subprocess.run(
        ["ssh", "-F", str(folder / "ssh_config"), "-G", name], capture_output=True, text=True, check=True
    )
    options = dict(line.split(" ", 1) for line in asked.stdout.splitlines() if " " in line)

    assert options["user"] == "alice"
    assert options["hostname"] == "10.9.0.11"
    assert options["hostkeyalias"] == "cm-t-worker-1"
    assert options["identitiesonly"] == "yes"
    assert options["stricthostkeychecking"] in {"yes", "true"}
    assert options["globalknownhostsfile"] == "/dev/null"
    assert options["kexalgorithms"] == "curve25519-sha256"
    assert options["proxycommand"] == "dial '/a b' 10.9.0.11 22"
    assert options["proxyusefdpass"] == "yes"
    assert options["userknownhostsfile"].replace("%%", "%") == str(folder / "known_hosts")
    assert options["identityfile"].replace("%%", "%") == str(folder / "id_ed25519")


def test_ansible_is_yaml() -> None:
    """The inventory's values are these, whichever YAML reads it."""
    inventory = yaml.safe_load(rendered("ansible"))["all"]

    assert inventory["vars"]["ansible_ssh_common_args"] == "-F '/home/me/100% mine/ssh_config'"
    assert list(inventory["children"]["master"]["hosts"]) == ["t-master"]
    assert list(inventory["children"]["workers"]["hosts"]) == ["t-worker-1", "t-worker-2"]
    assert inventory["children"]["workers"]["hosts"]["t-worker-2"]["private_ip"] == "10.9.0.12"


def test_ansible_understands_it(tmp_path: Path) -> None:
    """Ansible itself finds the groups and hosts, where it is installed."""
    command = Path(sys.executable).with_name("ansible-inventory")
    if not command.exists():
        pytest.skip("ansible-core is not installed")
    (tmp_path / "inventory.yaml").write_text(rendered("ansible"))
    listed = subprocess.run(
        [command, "-i", tmp_path / "inventory.yaml", "--list"], capture_output=True, text=True, check=True
    )
    inventory = json.loads(listed.stdout)

    assert inventory["workers"]["hosts"] == ["t-worker-1", "t-worker-2"]
    assert inventory["_meta"]["hostvars"]["t-master"]["ansible_user"] == "alice"


def test_a_percent_sign_in_the_home_is_no_token(tmp_path: Path) -> None:
    """OpenSSH runs the program of a local node's route with the path as it is."""
    home = Home(tmp_path / "100%h", tmp_path)
    node = Node("t-master", "master", 0, "running", "10.88.0.10")
    program = provider_of(home, "local", {}).ssh_route(node)["ProxyCommand"]

    assert "100%h" in program.replace("%%", "%")
    assert "%" not in program.replace("%%", "")
