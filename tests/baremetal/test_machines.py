"""Machines that exist become a verified cluster, and are given back as they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.baremetal.differences import differences
from tests.command_line import CommandLine
from tests.machines import Machines


@dataclass(frozen=True)
class Cluster:
    """A cluster `demo` of machines, and what lay on their disks before it was made."""

    cm: CommandLine
    machines: Machines
    before: Mapping[int, Mapping[str, str]]


@pytest.fixture(scope="module")
def demo(shared_cm: CommandLine, four: Machines) -> Iterator[Cluster]:
    """Return a cluster of four machines made from the runbook's two files."""
    before = {index: four.listing(index) for index in four.indices}
    four.write_provider(shared_cm)
    four.write_profile(shared_cm, "demo-cluster")
    shared_cm("cluster", "create", "demo", "-p", "demo-cluster")
    yield Cluster(shared_cm, four, before)


def test_the_runbook_makes_a_verified_cluster(demo: Cluster) -> None:
    """Four machines and the runbook's files give a ready cluster whose nodes reach each other by name."""
    demo.cm("cluster", "verify", "demo", "--full-mesh")
    answer = demo.cm("cluster", "cmd", "demo", "-t", "worker", "--", "ssh master 'echo here'")

    assert "ready" in demo.cm("cluster", "list").stdout
    assert 1 == answer.stdout.count("here")
    assert {"n1", "n2", "n3", "n4"} == set(demo.cm("cluster", "cmd", "demo", "--", "hostname").stdout.split()[1::2])


def test_machines_are_given_back_as_they_were(demo: Cluster) -> None:
    """After delete the disks of all machines hold what they held before: paths, modes, owners and contents."""
    taken = {index: differences(demo.before[index], demo.machines.listing(index)) for index in demo.machines.indices}
    demo.cm("cluster", "delete", "demo", "-y")

    assert all({"./etc/hosts", "./home/admin/.ssh/authorized_keys"} <= set(paths) for paths in taken.values())
    for index in demo.machines.indices:
        after = demo.machines.listing(index)
        assert {} == differences(demo.before[index], after)
