"""Machines that exist become a verified cluster, and are given back as they were."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.baremetal.differences import differences
from tests.support.command_line import CommandLine
from tests.support.conda_channel import make_channel, require_tools
from tests.support.machines import Machines

CONDA = """\
conda_channels:
  - {channel}
default_channels: {channel}
plugins:
  - conda:
      install_prefix: /opt/anaconda
      conda_sh: false
      conda_acl: true
      environments:
        root: [python, greet=0.1]
"""
# Homes and hosts files as people have them: links, second names, and lines that look like ours.
ODD_FILES = """
set -e
mkdir ~/dotfiles && mv ~/.ssh/authorized_keys ~/dotfiles/keys && ln -s ../dotfiles/keys ~/.ssh/authorized_keys
echo 'ssh-ed25519 AAAAC3Nz theirs cm-bootstrap x' >>~/dotfiles/keys
sudo ln /etc/hosts /etc/hosts.also
"""
NODES = ["demo-master", "demo-worker-1", "demo-worker-2", "demo-worker-3"]


@dataclass(frozen=True)
class Cluster:
    """A cluster `demo` of machines, and what lay on their disks before it was made."""

    cm: CommandLine
    machines: Machines
    before: Mapping[int, Mapping[str, str]]


@pytest.fixture(scope="module")
def demo(shared_cm: CommandLine, four: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster of four machines made from the runbook's two files, with an environment from a channel here."""
    require_tools()
    channel = make_channel(tmp_path_factory.mktemp("conda") / "channel", greet_versions=["0.1"])
    four.nodes.run(1, ODD_FILES)
    before = {index: four.listing(index) for index in four.indices}
    four.write_provider(shared_cm)
    four.write_profile(shared_cm, "demo-cluster", also=CONDA.format(channel=channel.as_uri()))
    shared_cm("cluster", "create", "demo", "-p", "demo-cluster")
    yield Cluster(shared_cm, four, before)


def test_the_runbook_makes_a_verified_cluster(demo: Cluster) -> None:
    """Four machines and the runbook's files give a ready cluster whose nodes reach each other by name."""
    demo.cm("cluster", "verify", "demo", "--full-mesh")
    answer = demo.cm("cluster", "cmd", "demo", "-t", "worker", "--", "ssh master 'echo here'")

    assert "ready" in demo.cm("cluster", "list").stdout
    assert 1 == answer.stdout.count("here")


def test_machines_have_an_environment_from_a_lock(demo: Cluster) -> None:
    """Below /opt/anaconda every machine has the same environment, made with the cluster, and its programs run."""
    line = "/opt/anaconda/envs/root/bin/greet"
    answers = json.loads(demo.cm("cluster", "cmd", "demo", "-f", "json", "--", line).stdout)
    [row] = json.loads(demo.cm("conda", "check", "demo", "-f", "json").stdout)

    assert ["greet 0.1"] * 4 == [answer["stdout"].split(" from ")[0] for answer in answers]
    assert (row["what"], row["nodes"], row["ok"]) == ("same", "master,worker-[1-3]", True)


def test_machines_keep_their_names(demo: Cluster) -> None:
    """The host name of a machine is what it was before."""
    names = demo.cm("cluster", "cmd", "demo", "--", "hostname").stdout.split()[1::2]

    assert {"n1", "n2", "n3", "n4"} == set(names)


def test_answers_of_machines_are_folded(demo: Cluster) -> None:
    """Four equal answers are one; when one machine has another file, its answer stands beside that of the others."""
    equal = demo.cm("cluster", "cmd", "demo", "--", "cat /etc/os-release").stdout
    demo.machines.nodes.run(3, "sudo cp /etc/os-release /tmp/kept; echo ODD=yes | sudo tee -a /etc/os-release")
    odd = demo.cm("cluster", "cmd", "demo", "--", "cat /etc/os-release").stdout
    demo.machines.nodes.run(3, "cat /tmp/kept | sudo tee /etc/os-release")

    assert (1, 0) == (equal.count("PRETTY_NAME"), equal.count("ODD"))
    assert (2, 1) == (odd.count("PRETTY_NAME"), odd.count("ODD"))


def test_get_brings_a_file_from_each_machine(demo: Cluster, tmp_path: Path) -> None:
    """From four machines `get` makes four files, none over another."""
    demo.cm("cluster", "get", "demo", "/etc/hostname", str(tmp_path))

    assert ["n1\n", "n2\n", "n3\n", "n4\n"] == [(tmp_path / node / "hostname").read_text() for node in NODES]


def test_the_systems_ssh_reaches_machines(demo: Cluster, tmp_path: Path) -> None:
    """What `-F ssh` prints leads the system's own ssh to every machine, by the way of the user's configuration."""
    config = tmp_path / "config"
    config.write_text(demo.cm("cluster", "inventory", "demo", "-F", "ssh").stdout)
    for name, said in (("worker-3", "n4\n"), ("demo-master", "n1\n")):
        words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", name, "hostname"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert (0, said, "") == (done.returncode, done.stdout, done.stderr)


def test_files_of_machines_stay_what_they_are(demo: Cluster) -> None:
    """A link and a second name are left while the cluster lives, and no line of others is taken for a bootstrap key."""
    said = demo.machines.nodes.run(1, "readlink ~/.ssh/authorized_keys; stat -c %h /etc/hosts; cat ~/dotfiles/keys")

    assert ["../dotfiles/keys", "2"] == said.splitlines()[:2]
    assert (1, 1) == (said.count("theirs cm-bootstrap x"), said.count("# BEGIN cm demo\n"))


def test_machines_are_not_rebuilt(demo: Cluster) -> None:
    """A script that is to rebuild nodes when it fails is refused before it runs: there is no image."""
    refused = demo.cm("cluster", "write", "demo", "worker", "--on-failure", "rebuild", "touch /ran", expect=2)

    assert "--undo FILE" in refused.stderr
    demo.cm("cluster", "cmd", "demo", "--", "test ! -e /ran")


def test_a_machine_has_one_cluster(demo: Cluster) -> None:
    """A machine that belongs to a cluster is not taken for another one: preflight says whose it is."""
    refused = demo.cm("cluster", "create", "other", "-p", "demo-cluster", expect=2)

    assert 4 == refused.stderr.count("it belongs to cluster 'demo'"), str(refused)


def test_a_name_is_no_claim(demo: Cluster, tmp_path: Path) -> None:
    """The same name from another home is refused with exit 2, and whoever has the machines keeps them."""
    other = replace(demo.cm, home=tmp_path / "home")
    other.home.mkdir(mode=0o700)
    demo.machines.write_provider(other)
    demo.machines.write_profile(other, "demo-cluster")
    refused = other("cluster", "create", "demo", "-p", "demo-cluster", expect=2)

    assert 4 == refused.stderr.count("it belongs to cluster 'demo'"), str(refused)
    demo.cm("cluster", "cmd", "demo", "--", "true")


def test_machines_are_given_back_as_they_were(demo: Cluster) -> None:
    """After delete the disks of all machines hold what they held before; what others wrote meanwhile stays."""
    taken = {index: differences(demo.before[index], demo.machines.listing(index)) for index in demo.machines.indices}
    demo.machines.nodes.run(2, "echo 10.9.9.9 elsewhere | sudo tee -a /etc/hosts")
    demo.cm("cluster", "delete", "demo", "-y")
    hosts = demo.machines.nodes.run(2, "cat /etc/hosts")

    keys = {1: "./home/admin/dotfiles/keys"}  # behind a link
    assert all({"./etc/hosts", keys.get(i, "./home/admin/.ssh/authorized_keys")} <= set(taken[i]) for i in taken)
    assert ("10.9.9.9 elsewhere" in hosts, "demo" in hosts) == (True, False)
    demo.machines.nodes.run(2, "grep -v elsewhere /etc/hosts > /tmp/hosts; sudo cp /tmp/hosts /etc/hosts")
    for index in demo.machines.indices:
        assert {} == differences(demo.before[index], demo.machines.listing(index))
