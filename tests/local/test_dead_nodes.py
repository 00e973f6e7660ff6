"""Nodes that have died, as by a crash or a reboot: who is refused, who goes on without them, who starts them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.queries.inspect import cluster as cluster_as_it_is
from cloudmesh_cluster.providers.local.engine.engine import Engine
from cloudmesh_cluster.providers.local.engine.processes import marked_processes
from tests.support.command_line import CommandLine
from tests.support.journal_watch import begun, signalled, started
from tests.support.plugin_folder import write_plugin

PLUGIN = "description: notes what it is told\nversion: 1\n"
ALL = '#!/bin/bash\necho "$1" >>/var/tmp/all\n'
MASTER = '#!/bin/bash\necho "$1 ${CM_LEAVING:-}" >>/var/tmp/master\n'
WORKER = '#!/bin/bash\necho "$1" >>/var/tmp/worker\n'


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` of two workers and a plugin that notes what it is told."""
    files = {"plugin.yaml": PLUGIN, "all.sh": ALL, "master.sh": MASTER, "worker.sh": WORKER}
    write_plugin(shared_cm.home, "notes", files)
    shared_cm("cluster", "create", "t", "-n", "2", timeout=600)
    shared_cm("cluster", "install", "t", "notes")
    yield shared_cm


def engine(cm: CommandLine) -> Engine:
    """Return the engine of the cluster."""
    return Engine(cm.home / "clusters" / "t" / "engine", cm.cache / "images")


def crash(cm: CommandLine, node: str) -> None:
    """Kill a node behind the back of `cm`."""
    os.kill(engine(cm).running()[node], signal.SIGKILL)
    wait_until_stopped(cm, [node])


def reboot(cm: CommandLine) -> None:
    """End all processes of the cluster, as a reboot of this machine does."""
    for pid in marked_processes(cm.home / "clusters" / "t" / "engine"):
        os.kill(pid, signal.SIGKILL)
    wait_until_stopped(cm, [node for node in as_it_is(cm) if node != "t"])


def wait_until_stopped(cm: CommandLine, nodes: Sequence[str]) -> None:
    """Wait until the engine has seen that nodes are dead."""
    deadline = time.monotonic() + 10
    while any(node in engine(cm).running() for node in nodes):
        assert time.monotonic() < deadline, engine(cm).running()
        time.sleep(0.02)


def as_it_is(cm: CommandLine) -> dict[str, str]:
    """Return the state of the cluster and of each node."""
    found = cluster_as_it_is(Home(cm.home, cm.cache), "t")
    return {"t": found.state} | {node.name: node.state for node in found.nodes}


def told(cm: CommandLine, node: str, script: str) -> list[str]:
    """Return what a role script of the plugin was told on a node."""
    return cm("cluster", "ssh", "t", "-t", node, "--", "cat", f"/var/tmp/{script}").stdout.splitlines()


def assert_ready(cm: CommandLine, *, workers: list[int]) -> None:
    """Check that the cluster has these workers, all of them running, and is sound."""
    names = ["t", "t-master", *(f"t-worker-{index}" for index in workers)]
    assert dict.fromkeys(names, "running") | {"t": "ready"} == as_it_is(cm)
    cm("cluster", "verify", "t", "--full-mesh")


def test_what_needs_all_nodes_is_refused_when_one_is_dead(cluster: CommandLine) -> None:
    """With one dead node, what would fail on it changes nothing and names the ways out; start brings the node back."""
    crash(cluster, "t-worker-1")
    for words in (
        ("scale", "t", "+1"),
        ("scale", "t", "-1"),
        ("write", "t", "all", "true"),
        ("uninstall", "t", "notes"),
        ("start", "t", "notes"),
        ("stop", "t", "notes"),
        ("restart", "t", "notes"),
    ):
        said = cluster("cluster", *words, expect=2, timeout=30).stderr
        assert "t-worker-1 is not running" in said, words
        assert "cm cluster start t" in said, words
        assert "replace" not in said, words
    assert "degraded" == as_it_is(cluster)["t"]
    cluster("cluster", "start", "t")
    assert_ready(cluster, workers=[1, 2])


def test_plugins_of_a_stopped_cluster_are_refused(cluster: CommandLine) -> None:
    """Naming a plugin of a cluster that is stopped is exit 2 at once, and start works afterwards."""
    cluster("cluster", "stop", "t")
    assert "cm cluster start t" in cluster("cluster", "start", "t", "notes", expect=2, timeout=30).stderr
    cluster("cluster", "start", "t")
    assert_ready(cluster, workers=[1, 2])


def test_a_dead_node_is_replaced_and_another_is_no_obstacle_to_wiring(cluster: CommandLine) -> None:
    """A dead node can be replaced; of two, one is replaced, verify names the other, and resume starts that one."""
    crash(cluster, "t-worker-1")
    cluster("cluster", "replace", "t", "worker-1")
    assert_ready(cluster, workers=[1, 2])

    crash(cluster, "t-worker-1")
    crash(cluster, "t-worker-2")
    said = cluster("cluster", "replace", "t", "worker-1", expect=1).stderr
    assert "wire failed" not in said
    assert "t-worker-2" in said
    cluster("cluster", "resume", "t")
    assert_ready(cluster, workers=[1, 2])


def test_a_growth_whose_old_node_dies_is_taken_back(cluster: CommandLine) -> None:
    """When a node dies while the cluster grows, the new node goes and the rollback does not fail on the dead one."""
    with started(cluster, "cluster", "scale", "t", "+1") as running:
        running.wait_for(begun("provision"))
        crash(cluster, "t-worker-1")
        answer = running.answer()
    assert 1 == answer.exit, answer
    assert "outcome: rolled back" in answer.stderr
    nodes = {"t-master": "running", "t-worker-1": "stopped", "t-worker-2": "running"}
    assert {"t": "degraded", **nodes} == as_it_is(cluster)
    cluster("cluster", "start", "t")
    assert_ready(cluster, workers=[1, 2])


def test_a_dead_worker_leaves(cluster: CommandLine) -> None:
    """A shrink removes a worker that has crashed; the master is told, and who is left is sound."""
    crash(cluster, "t-worker-2")
    said = cluster("cluster", "scale", "t", "-1").stderr
    assert "it can't hand over its work: it does not run" in said
    assert "leave t-worker-2" in told(cluster, "t-master", "master")
    assert "leave" in told(cluster, "t-worker-1", "all")
    assert_ready(cluster, workers=[1])
    cluster("cluster", "scale", "t", "2")
    assert_ready(cluster, workers=[1, 2])


def test_a_shrink_killed_between_destroy_and_its_note_is_resumed(cluster: CommandLine) -> None:
    """A worker that is gone and still written down is asked for nothing when the shrink is resumed."""
    killed = signalled(cluster, "cluster", "scale", "t", "1", at=begun("destroy"))
    assert -signal.SIGKILL == killed.exit
    engine(cluster).destroy(["t-worker-2"])
    cluster("cluster", "resume", "t")
    assert_ready(cluster, workers=[1])


def test_resume_starts_the_nodes_after_a_reboot(cluster: CommandLine) -> None:
    """An operation that was cut off by a reboot is finished: its nodes and their plugins are started first."""
    killed = signalled(cluster, "cluster", "scale", "t", "2", at=begun("scripts"))
    assert -signal.SIGKILL == killed.exit
    before = told(cluster, "t-worker-1", "worker").count("start")
    reboot(cluster)
    cluster("cluster", "start", "t", expect=2)
    cluster("cluster", "resume", "t")
    assert_ready(cluster, workers=[1, 2])
    assert told(cluster, "t-worker-1", "worker").count("start") > before
