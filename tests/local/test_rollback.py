"""What fails or is stopped is taken back: evidence is kept, nothing else is, and what can't be removed is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster.providers.local.engine.engine import Engine
from cloudmesh_cluster.providers.local.engine.processes import marked_processes
from tests.conftest import refuse
from tests.support.command_line import CommandLine
from tests.support.journal_watch import Instant, begun, signalled, started
from tests.support.traces import traces

NEVER = "{name: never, on: worker, run: 'echo too bad; exit 7', within: 0s}"
FIXABLE = "{name: fixed, on: worker, run: 'test -e /var/tmp/fixed', within: 0s}"
SLOW = "{name: slow, on: worker, run: 'sleep 20'}"
NODE_REACHED = Instant("first node reached", "SELECT 1 FROM nodes WHERE state='reached'")


def with_check(cm: CommandLine, check: str) -> CommandLine:
    """Return `cm` with a profile `p` of one worker and one check of its own."""
    folder = cm.home / "profiles.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "p.yaml").write_text(f"name: p\nroles: {{worker: {{count: 1}}}}\nchecks: [{check}]\n")
    return cm


def clusters(cm: CommandLine) -> dict[str, str]:
    """Return the state of each cluster as `list` shows it."""
    return {row["name"]: row["state"] for row in json.loads(cm("cluster", "list", "-f", "json").stdout)}


def nodes(cm: CommandLine, name: str) -> dict[str, str]:
    """Return the state of each node of a cluster."""
    return {row["name"]: row["state"] for row in json.loads(cm("cluster", "nodes", name, "-f", "json").stdout)}


def last_operation(cm: CommandLine, name: str) -> tuple[str, str]:
    """Return kind and state of the newest operation on a cluster."""
    row = json.loads(cm("cluster", "history", name, "-f", "json").stdout)[-1]
    return row["kind"], row["state"]


def consoles(cm: CommandLine, name: str) -> list[str]:
    """Return the consoles that were kept as evidence."""
    return sorted(path.name for path in (cm.home / "clusters" / name / "logs").glob("*/*.console.log"))


@contextmanager
def unremovable(folder: Path) -> Iterator[None]:
    """Put a file into a folder that not even root can remove while the block runs."""
    file = folder / "stuck"
    file.touch()
    if os.geteuid() != 0 or subprocess.run(["chattr", "+i", file], check=False).returncode:
        refuse("only root on a file system with attributes can make a file that can't be removed")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", file], check=True)


@pytest.mark.parametrize(
    ("number", "instant"),
    [
        (signal.SIGINT, begun("provision")),
        (signal.SIGTERM, NODE_REACHED),
        (signal.SIGHUP, begun("verify")),
    ],
)
def test_a_signal_rolls_back(cm: CommandLine, number: signal.Signals, instant: Instant) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end create with exit 130 and leave only evidence and history."""
    with_check(cm, SLOW)
    before = traces(cm.home)
    answer = signalled(cm, "cluster", "create", "t", "-p", "p", at=instant, number=number)

    assert 130 == answer.exit, answer
    assert "create interrupted, rolled back" in answer.stderr
    assert before == traces(cm.home)
    assert {} == clusters(cm)
    assert ("create", "rolled back") == last_operation(cm, "t")
    if number != signal.SIGINT:  # which comes before there is a node
        assert {"t-master.console.log", "t-worker-1.console.log"} <= set(consoles(cm, "t"))
    cm("cluster", "resume", "t", expect=2)


def test_a_second_ctrl_c_stops_at_once(cm: CommandLine) -> None:
    """The second Ctrl-C ends the process before anything is undone, and says what is left and how to go on."""
    with_check(cm, SLOW)
    before = traces(cm.home)
    with started(cm, "cluster", "create", "t", "-p", "p") as running:
        running.wait_for(begun("verify"))
        running.send(signal.SIGINT)
        running.wait_for_words("Ctrl-C again stops at once")
        running.send(signal.SIGINT)
        sent = time.monotonic()
        answer = running.answer()

    assert 130 == answer.exit, answer
    assert time.monotonic() - sent < 5
    assert f"left: folder {cm.home}/clusters/t\n" in answer.stderr
    assert f"left: folder {cm.home}/clusters/t/engine/nodes/t-worker-1\n" in answer.stderr
    assert "left: process " in answer.stderr
    assert "cm cluster resume t" in answer.stderr
    assert {"t": "interrupted"} == clusters(cm)
    cm("cluster", "delete", "t", "-y")
    assert before == traces(cm.home)


def test_ctrl_c_during_a_rollback_does_not_stop_it(cm: CommandLine) -> None:
    """A first Ctrl-C that comes while a failed create is undone changes nothing: it asks for just that."""
    with_check(cm, NEVER)
    before = traces(cm.home)
    with started(cm, "cluster", "create", "t", "-p", "p") as running:
        running.wait_for_words("collect evidence")
        running.send(signal.SIGINT)
        answer = running.answer()

    assert "outcome: rolled back" in answer.stderr
    assert before == traces(cm.home)
    assert ("create", "rolled back") == last_operation(cm, "t")


def test_ctrl_c_while_the_image_is_built_leaves_no_part_of_it(cm: CommandLine) -> None:
    """A build that is interrupted ends with all its processes, and what it made so far is gone."""
    fresh = replace(cm, cache=cm.home / "cache")
    with started(fresh, "cluster", "create", "t", "-n", "1") as running:
        running.wait_for_words("with mmdebstrap")
        running.send(signal.SIGINT)
        assert 130 == running.answer().exit

    assert [] == [path for path in (fresh.cache / "images").iterdir() if path.name != ".lock"]
    assert [] == traces(cm.home)["processes"]
    assert {} == clusters(fresh)


def test_a_rollback_that_fails_names_what_is_left(cm: CommandLine) -> None:
    """What can't be undone is exit 4, each piece by kind and id; delete works when the cause is gone."""
    with_check(cm, "{name: never, on: worker, run: 'sleep 1; false', within: 0s}")
    before = traces(cm.home)
    folder = cm.home / "clusters" / "t" / "engine" / "nodes" / "t-worker-1"
    with started(cm, "cluster", "create", "t", "-p", "p") as running:
        running.wait_for(begun("verify"))
        with unremovable(folder):
            answer = running.answer()
            assert 4 == answer.exit, answer
            assert f"left: folder {folder}\n" in answer.stderr
            assert "never on t-worker-1" in answer.stderr
            assert "cm cluster delete t" in answer.stderr
            assert {"t": "failed"} == clusters(cm)
            again = cm("cluster", "delete", "t", "-y", expect=4)
            assert f"left: folder {folder}\n" in again.stderr
            assert "t-master" not in again.stderr
            assert "t" in clusters(cm)
    cm("cluster", "delete", "t", "-y")

    assert before == traces(cm.home)
    assert {} == clusters(cm)


def test_delete_by_force_forgets_what_it_names(cm: CommandLine) -> None:
    """With --force a cluster is forgotten although something of it is left: exit 4, named once more."""
    cm("cluster", "create", "t", "-n", "1", timeout=600)
    folder = cm.home / "clusters" / "t" / "engine" / "nodes" / "t-worker-1"
    with unremovable(folder):
        answer = cm("cluster", "delete", "t", "--force", "-y", expect=4)
        assert f"left: folder {folder}\n" in answer.stderr
        assert {} == clusters(cm)
    shutil.rmtree(cm.home / "clusters" / "t")


def test_want_of_evidence_does_not_stop_a_rollback(cm: CommandLine) -> None:
    """Where no evidence can be written, the failed create is undone all the same, and says so."""
    with_check(cm, NEVER)
    folder = cm.home / "clusters" / "t"
    folder.mkdir(parents=True)
    (folder / "logs").write_text("not a folder")
    answer = cm("cluster", "create", "t", "-p", "p", expect=1)

    assert "not all evidence could be collected" in answer.stderr
    assert ["logs"] == os.listdir(folder)
    assert [] == traces(cm.home)["processes"]
    assert {} == clusters(cm)


def test_time_that_runs_out_rolls_back(cm: CommandLine) -> None:
    """A create that takes longer than --timeout is undone like any other failure."""
    with_check(cm, SLOW)
    before = traces(cm.home)
    answer = cm("cluster", "create", "t", "-p", "p", "--timeout", "6s", expect=1)

    assert "out of time" in answer.stderr
    assert before == traces(cm.home)


def test_what_failed_can_be_kept_mended_and_resumed(cm: CommandLine) -> None:
    """With --on-failure keep the nodes of a failed create stay: they can be mended, and resume finishes."""
    with_check(cm, FIXABLE)
    answer = cm("cluster", "create", "t", "-p", "p", "--on-failure", "keep", expect=1)
    assert "outcome: kept" in answer.stderr
    assert {"t": "failed"} == clusters(cm)
    cm("cluster", "write", "t", "worker", "true", expect=2)
    cm("cluster", "resume", "t", expect=1)

    cm("cluster", "cmd", "t", "-t", "worker", "--", "touch", "/var/tmp/fixed")
    cm("cluster", "resume", "t")
    assert {"t": "ready"} == clusters(cm)
    assert {"t-master": "running", "t-worker-1": "running"} == nodes(cm, "t")


def test_delete_takes_names(cm: CommandLine) -> None:
    """Delete takes several names; one that never was is exit 2 and touches nothing, one deleted before is no error."""
    cm("cluster", "create", "a", "-n", "1", timeout=600)
    cm("cluster", "delete", "a", expect=2)
    answer = cm("cluster", "delete", "a", "never", "-y", expect=2)
    assert "never" in answer.stderr
    assert {"a": "ready"} == clusters(cm)

    cm("cluster", "create", "b", "-n", "1", timeout=600)
    cm("cluster", "delete", "a", "b", "a", "-y")
    assert {} == clusters(cm)
    cm("cluster", "delete", "b", "a", "-y")


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` of one worker, whose worker script fails on a second worker."""
    shared_cm("cluster", "create", "t", "-n", "1", timeout=600)
    shared_cm("cluster", "write", "t", "worker", 'test "$CM_INDEX" -lt 2')
    yield shared_cm


def test_a_failed_growth_removes_only_the_new_nodes(cluster: CommandLine) -> None:
    """When a remembered script fails on a new node, the cluster is as it was before: ready, verified, all forgotten."""
    answer = cluster("cluster", "scale", "t", "3", expect=1)

    assert "t-worker-2" in answer.stderr
    assert "outcome: rolled back" in answer.stderr
    assert_is_as_before(cluster)
    assert "t-worker-2.console.log" in consoles(cluster, "t")


def test_an_interrupted_growth_removes_only_the_new_nodes(cluster: CommandLine) -> None:
    """Ctrl-C while a cluster grows takes back the new nodes and nothing else."""
    wired = begun("wire")
    answer = signalled(cluster, "cluster", "scale", "t", "+1", at=wired, number=signal.SIGINT)

    assert 130 == answer.exit, answer
    assert_is_as_before(cluster)


def assert_is_as_before(cm: CommandLine) -> None:
    """Check that nothing tells of a second worker."""
    assert {"t-master": "running", "t-worker-1": "running"} == nodes(cm, "t")
    assert {"t": "ready"} == clusters(cm)
    folder = cm.home / "clusters" / "t"
    assert {"t-master", "t-worker-1"} == set(os.listdir(folder / "engine" / "nodes"))
    assert {"engine", "id_ed25519", "known_hosts", "logs", "ssh_config"} == set(os.listdir(folder))
    files = "/etc/hosts /etc/ssh/ssh_known_hosts /home/cm/.ssh/authorized_keys"
    known = cm("cluster", "cmd", "t", "--", f"sudo grep -l worker-2 {files}; true").stdout
    assert "/etc" not in known
    assert "/home" not in known
    cm("cluster", "verify", "t", "--full-mesh")


def test_a_growth_that_can_not_be_undone_names_the_nodes(cluster: CommandLine) -> None:
    """A new node that can not be removed is exit 4 and named; a resumed growth that fails is undone in full."""
    folder = cluster.home / "clusters" / "t" / "engine" / "nodes" / "t-worker-2"
    with started(cluster, "cluster", "scale", "t", "2") as running:
        running.wait_for(begun("scripts"))
        with unremovable(folder):
            answer = running.answer()
            assert 4 == answer.exit, answer
            assert f"left: folder {folder}\n" in answer.stderr
            assert {"t": "failed"} == clusters(cluster)
    cluster("cluster", "resume", "t", expect=1)
    assert_is_as_before(cluster)


def test_dead_nodes_are_seen_and_started_again(cluster: CommandLine) -> None:
    """List says degraded when a node has died, stopped when all have, as after a reboot; start brings them back."""
    folder = cluster.home / "clusters" / "t" / "engine"
    engine = Engine(folder, cluster.cache / "images")
    cluster("cluster", "cmd", "t", "--", "sudo sh -c 'hostname >/var/tmp/kept; sync'")
    os.kill(engine.running()["t-worker-1"], signal.SIGKILL)
    assert {"t": "degraded"} == clusters(cluster)
    assert {"t-master": "running", "t-worker-1": "stopped"} == nodes(cluster, "t")
    cluster("cluster", "start", "t")
    assert {"t": "ready"} == clusters(cluster)

    for pid in marked_processes(folder):
        os.kill(pid, signal.SIGKILL)
    assert {"t": "stopped"} == clusters(cluster)
    assert {"stopped"} == set(nodes(cluster, "t").values())
    cluster("cluster", "start", "t")
    cluster("cluster", "verify", "t", "--full-mesh")
    kept = json.loads(cluster("cluster", "cmd", "t", "-f", "json", "--", "cat", "/var/tmp/kept").stdout)
    assert ["t-master\n", "t-worker-1\n"] == [row["stdout"] for row in kept]
