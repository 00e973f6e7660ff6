"""Profiles of `acluster`: machines are read, words translated, contradictions named, the rest ignored with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudmesh_cluster.config.profile import load_profile, with_overrides
from cloudmesh_cluster.config.profile_yaml import to_yaml
from cloudmesh_cluster.core.errors import InvalidInput
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Machine, Profile
from cloudmesh_cluster.plugins.resolve import resolve

RUNBOOK = """\
name: demo-cluster
provider: bare_metal
num_nodes: 4
node_id: bare
node_type: bare
user: admin
machines:
  head:
    - 172.31.60.133
  compute:
    - 172.31.55.76
    - 172.31.55.77:2222
    - {host: 172.31.55.78, host_key: "SHA256:0000000000000000000000000000000000000000000"}
"""
FINGERPRINT = "SHA256:" + 43 * "0"


def load(folder: Path, text: str) -> Profile:
    """Return the profile that a text is."""
    file = folder / "demo-cluster.yaml"
    file.write_text(text)
    return load_profile(file)


def test_the_runbooks_profile(tmp_path: Path) -> None:
    """The runbook's profile means one master and three workers on these machines; its dummies are ignored, once."""
    profile = load(tmp_path, RUNBOOK)

    assert (profile.user, profile.provider, profile.worker.count) == ("admin", "bare_metal", 3)
    assert profile.machines == (
        Machine("172.31.60.133"),
        Machine("172.31.55.76"),
        Machine("172.31.55.77", 2222),
        Machine("172.31.55.78", host_key=FINGERPRINT),
    )
    assert [each.split(":")[0] for each in profile.ignored] == ["node_id", "node_type"]
    assert profile.master.image is None


def test_machines_survive_a_change_and_a_print(tmp_path: Path) -> None:
    """What `--set` and `profile show` make of a profile lists the same machines."""
    profile = load(tmp_path, RUNBOOK)

    assert with_overrides(profile, settings=["mesh=none"]).machines == profile.machines
    assert load(tmp_path, to_yaml(profile)).machines == profile.machines


def test_fewer_workers_than_machines(tmp_path: Path) -> None:
    """A count below the number of machines leaves spare ones."""
    profile = load(tmp_path, RUNBOOK + "roles: {worker: {count: 2}}\n")

    assert (profile.worker.count, len(profile.machines)) == (2, 4)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("num_nodes: 4", "num_nodes: 5"), "num_nodes: 5 contradicts machines, which lists 4"),
        (("55.77:2222", "55.76"), "machine 172.31.55.76 is listed twice"),
        (("60.133", "60.133\n    - 172.31.60.134"), "exactly 1 head, got 2"),
        (("55.77:2222", "55.77:99999"), "port 99999 is none"),
        (("55.77:2222", "admin@55.77"), "expected an address or a host name"),
        (("SHA256:", "MD5:"), "expected a fingerprint"),
        (("user: admin", "roles: {worker: {count: 4}}"), "4 workers, but machines.compute lists 3"),
    ],
)
def test_contradictions(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    """What contradicts itself, or is no machine, is named with its place."""
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, RUNBOOK.replace(*change))

    assert any(problem in str(each) for each in caught.value.problems)
    assert all(each.where.startswith(f"{tmp_path}/demo-cluster.yaml:") for each in caught.value.problems)


def test_a_profile_for_a_cloud(tmp_path: Path) -> None:
    """Without machines, node_id, node_type and num_nodes are image, flavor and the number of nodes."""
    profile = load(tmp_path, "num_nodes: 3\nnode_id: debian-12\nnode_type: m1.small\n")

    assert (profile.worker.count, profile.worker.image, profile.master.flavor) == (2, "debian-12", "m1.small")
    with pytest.raises(InvalidInput, match=r"contradicts roles\.worker\.count: 5"):
        load(tmp_path, "num_nodes: 3\nroles: {worker: {count: 5}}\n")


def test_keys_that_mean_nothing_here(tmp_path: Path) -> None:
    """Keys for EC2, Salt and the firewall are ignored, each with its reason."""
    text = "aws: {tags: [a]}\nroot_size: 10\nsecurity: {disable_selinux: true}\nhead: {roles: [r]}\ndata: {a: 1}\n"

    assert [each.split(":")[0] for each in load(tmp_path, text).ignored] == [
        "aws", "root_size", "security", "head", "data"
    ]  # fmt: skip


def test_the_runbook_as_it_is_printed(tmp_path: Path) -> None:
    """The list that the printed runbook indents wrongly is an error with its line."""
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, "name: demo-cluster\nmachines:\n    head:\n- 172.31.60.133\n    compute:\n- 172.31.55.76\n")

    assert ":4:" in str(caught.value.problems[0])


def test_plugins_and_channels(tmp_path: Path) -> None:
    """Plugins get the names that they have here, and conda what the profile says of channels; Salt is ignored."""
    text = RUNBOOK + (
        "conda_channels:\n  - http://repo/conda/anaconda\ndefault_channels: http://repo/conda/anaconda\n"
        "anaconda_url: http://repo/Miniconda.sh\n"
        "plugins:\n  - conda: {install_prefix: /opt/anaconda, conda_sh: false, conda_acl: true}\n"
        "  - hdfs\n  - yarn\n  - spark-standalone\n  - salt\n"
    )
    profile = load(tmp_path, text)
    conda = profile.plugins[0].settings

    assert [use.name for use in profile.plugins] == ["conda", "hadoop", "spark"]
    assert [use.name for use in load(tmp_path, "plugins: [hdfs, spark]\n").plugins] == ["hdfs", "spark"]
    assert [use.name for use in load(tmp_path, "plugins: [hadoop, yarn]\n").plugins] == ["hadoop"]
    assert conda["channels"] == conda["default_channels"] == ["http://repo/conda/anaconda"]
    assert (conda["conda_acl"], conda["conda_sh"]) == (["admin"], "false")
    assert {each.split(":")[0] for each in profile.ignored} == {"anaconda_url", "node_id", "node_type", "plugin salt"}
    assert with_overrides(profile, settings=["mesh=none"]).plugins == profile.plugins


def test_the_password_of_the_notebook(tmp_path: Path) -> None:
    """A random token is made instead; port and directory mean the same."""
    settings = "{password: acluster, port: 8899, directory: /srv/notebooks}"
    profile = load(tmp_path, f"plugins:\n  - notebook: {settings}\n")
    (chosen,) = resolve(profile.plugins, Home(tmp_path, tmp_path))

    assert (chosen.settings["port"], chosen.settings["directory"]) == (8899, "/srv/notebooks")
    assert [each.split(":")[0] for each in profile.ignored] == ["plugins.notebook.password"]
    assert not any("acluster" in each for each in profile.ignored)
