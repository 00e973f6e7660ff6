"""The journal: what is written is read again, whole or not at all, and no dead process confuses it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import CmError, NotFound
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import (
    CheckResult,
    Cluster,
    CommandResult,
    HostKeys,
    Node,
    Profile,
    ScriptExpectation,
)
from cloudmesh_cluster.state.records import ClusterRecord, Operation, WrittenScript
from cloudmesh_cluster.state.store import State

NODES = (Node("t-master", "master", 0, "planned", "10.0.0.1"), Node("t-worker-1", "worker", 1, "planned", "10.0.0.2"))
CLUSTER = Cluster("t", "creating", "here", "default", "2026-01-01T00:00:00.000+00:00", NODES)
RECORD = ClusterRecord(Profile("default", "default.yaml"), "local", {}, "10.0.0.0/16")


@pytest.fixture
def own_home(tmp_path: Path) -> Home:
    """Return an empty home."""
    return Home(tmp_path / "home", tmp_path / "cache")


@pytest.fixture
def state(own_home: Home) -> Iterator[State]:
    """Return the journal of an empty home."""
    with State(own_home) as opened:
        yield opened


def operation(number: int, *, kind: str = "create", state: str = "running", cluster: str = "t") -> Operation:
    """Return an operation that began `number` seconds after midnight."""
    began = f"2026-01-01T00:00:{number:02d}.000+00:00"
    return Operation(f"{number}-{kind}", cluster, kind, state, 1, began, None, {"n": number}, "")


def script(name: str, *, role: str = "worker") -> WrittenScript:
    """Return a script that runs."""
    content, expect = b"\x00true\n", ScriptExpectation(3)
    return WrittenScript(0, role, name, "0" * 64, content, "2026-01-01", "running", "1-write", expect)


def test_a_cluster_is_read_as_it_was_written(state: State) -> None:
    """A cluster comes back with its nodes in the order of their indices, and its record; others don't exist."""
    state.add_cluster(replace(CLUSTER, nodes=NODES[::-1]), RECORD)

    assert CLUSTER == state.cluster("t")
    assert [CLUSTER] == state.clusters()
    assert RECORD == state.record("t")
    with pytest.raises(NotFound, match="'u'"):
        state.cluster("u")


def test_nodes_are_replaced_by_index_and_keep_their_keys(state: State) -> None:
    """Storing a node again changes its state and addresses, not the keys that are known of it."""
    state.add_cluster(CLUSTER, RECORD)
    state.put_host_keys("t", "t-worker-1", HostKeys(("ssh-ed25519 A",), "console"))
    state.put_reached("t", NODES[1], public_key="ssh-ed25519 B")
    state.put_nodes("t", [replace(NODES[1], state="running", private_ip="10.0.0.9")])

    assert ("running", "10.0.0.9") == (state.cluster("t").nodes[1].state, state.cluster("t").nodes[1].private_ip)
    assert {"t-master": [], "t-worker-1": ["ssh-ed25519 A"]} == state.host_keys("t")
    assert {"t-worker-1": "ssh-ed25519 B"} == state.public_keys("t")
    assert [None, "console"] == [node.host_key_from for node in state.cluster("t").nodes]
    state.remove_nodes("t", ["t-worker-1", "never-there"])
    assert {"t-master": []} == state.host_keys("t")


def test_another_machine_in_a_node_s_place_is_not_trusted(state: State) -> None:
    """A node that gets another machine has no host key any more, whoever has vouched for the old one."""
    state.add_cluster(replace(CLUSTER, nodes=(replace(NODES[0], provider_id="a"), NODES[1])), RECORD)
    for node in NODES:
        state.put_host_keys("t", node.name, HostKeys(("ssh-ed25519 A",), "first use"))
    state.put_nodes("t", [replace(NODES[0], provider_id="b"), replace(NODES[1], state="running")])

    assert {"t-master": [], "t-worker-1": ["ssh-ed25519 A"]} == state.host_keys("t")
    assert [None, "first use"] == [node.host_key_from for node in state.cluster("t").nodes]


def test_history_outlives_its_cluster(state: State) -> None:
    """A removed cluster takes its nodes and scripts along; its operations, steps, checks and events stay."""
    state.add_cluster(CLUSTER, RECORD)
    state.begin_operation(operation(1))
    state.begin_step("1-create", "prepare", {"kind": "cluster"})
    state.add_events("1-create", [Event("begin", "prepare", "t-master", "words", 1.5)])
    state.add_checks("1-create", [CheckResult("c", "t-master", "a", "b", False, 0.1)])
    written = state.add_script("t", script("a"))
    state.add_runs(written, [CommandResult("t-master", 0, "", "", 0.1)])
    state.remove_cluster("t")

    assert [] == state.clusters()
    assert [] == state.scripts("t")
    assert {} == state.runs(written)
    assert ["create"] == [each.kind for each in state.operations("t")]
    assert [("prepare", {"kind": "cluster"})] == [(step.name, step.undo) for step in state.steps("1-create")]
    assert [("1-create", "words", 1.5)] == [(name, each.message, each.seconds) for name, each in state.events("t")]


def test_a_cluster_is_written_with_its_scripts_or_not_at_all(state: State) -> None:
    """Who is killed meanwhile leaves no cluster whose nodes would lack a script."""
    broken = replace(script("b"), name=None)  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        state.add_cluster(CLUSTER, RECORD, [script("a"), broken])
    assert [] == state.clusters()
    state.add_cluster(CLUSTER, RECORD, [script("a"), script("b")])

    assert ["a", "b"] == [each.name for each in state.scripts("t")]


def test_scripts_keep_their_order(state: State) -> None:
    """Scripts are listed as they were written, with their expectation; a forgotten one is gone."""
    state.add_cluster(CLUSTER, RECORD)
    first, second, third = (state.add_script("t", script(name)) for name in ("b", "a", "c"))
    state.remember_script(third)
    state.forget_script(second)

    listed = state.scripts("t")
    assert [(first, "b", "running"), (third, "c", "remembered")] == [(s.id, s.name, s.state) for s in listed]
    assert {ScriptExpectation(3)} == {s.expect for s in listed}
    assert {b"\x00true\n"} == {s.content for s in listed}
    state.add_runs(first, [CommandResult("t-worker-1", 1, "", "", 0.1)])
    state.add_runs(first, [CommandResult("t-worker-1", 0, "", "", 0.1)])
    assert {"t-worker-1": 0} == state.runs(first)


def test_a_node_that_is_waived_keeps_what_it_ran(state: State) -> None:
    """Waived nodes have no exit status, but for those that ran the script; a later run counts again."""
    state.add_cluster(CLUSTER, RECORD)
    written = state.add_script("t", script("a"))
    state.add_runs(written, [CommandResult("t-master", 3, "", "", 0.1)])
    state.remember_script(written, waived=["t-master", "t-worker-1"])
    assert {"t-master": 3, "t-worker-1": None} == state.runs(written)
    state.add_runs(written, [CommandResult("t-worker-1", 3, "", "", 0.1)])
    assert {"t-master": 3, "t-worker-1": 3} == state.runs(written)


def test_a_resumed_operation_belongs_to_its_new_process(state: State) -> None:
    """Who takes an operation over is the one that runs it; when it ends, how and why are kept."""
    state.begin_operation(operation(1))
    state.end_operation("1-create", state="failed", error="no")
    state.take_over("1-create", pid=77)
    taken = state.operations("t")[0]
    assert ("running", 77, {"n": 1}) == (taken.state, taken.pid, taken.request)
    state.end_operation("1-create", state="done")

    ended = state.operations("t")[0]
    assert ("done", "") == (ended.state, ended.error)
    assert ended.ended_at is not None


def test_only_the_newest_change_can_be_unfinished(state: State) -> None:
    """What was killed before a later change began needs no resume, and what only looks at a cluster never does."""
    assert state.unfinished("t") is None
    state.begin_operation(operation(1))
    state.begin_operation(operation(2, kind="verify"))
    state.begin_operation(operation(3, cluster="other"))
    unfinished = state.unfinished("t")
    assert unfinished is not None
    assert "1-create" == unfinished.id
    state.begin_operation(operation(4, kind="delete", state="done"))

    assert state.unfinished("t") is None
    newest = state.newest_change("t")
    assert newest is not None
    assert "4-delete" == newest.id


def test_an_error_leaves_nothing_half_written(state: State) -> None:
    """When one of several rows can't be stored, none is."""
    state.add_cluster(CLUSTER, RECORD)
    broken = Node("t-worker-2", "worker", 2, None, "10.0.0.3")  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        state.put_nodes("t", [replace(NODES[1], state="running"), broken])

    assert NODES == state.cluster("t").nodes


def test_a_killed_writer_leaves_the_journal_readable(own_home: Home) -> None:
    """A process killed in the middle of a transaction leaves nothing of it, and no lock."""
    program = (
        "import os, signal, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size=1')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute(\"UPDATE clusters SET state='half'\")\n"
        "db.executemany('INSERT INTO events VALUES (?,?,?,?,?,?,?)',"
        " [('1-create', 'x' * 2000, 'info', '', '', '', 0)] * 500)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with State(own_home) as state:
        state.add_cluster(CLUSTER, RECORD)
        state.begin_operation(operation(1))
    done = subprocess.run([sys.executable, "-c", program, own_home.state_file], check=False)
    assert -signal.SIGKILL == done.returncode

    with State(own_home) as state:
        assert "creating" == state.cluster("t").state
        assert [] == state.events("t")
        state.set_cluster_state("t", "ready")


def test_many_writers_wait_for_each_other(own_home: Home) -> None:
    """Operations on several clusters write to one journal at once, and nothing is lost."""
    with State(own_home) as state:
        for name in ("a", "b", "c", "d"):
            state.begin_operation(operation(1, cluster=name, kind=name))

    def write(name: str) -> None:
        with State(own_home) as mine:
            for number in range(10):
                mine.begin_step(f"1-{name}", str(number), None)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c", "d")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with State(own_home) as state:
        for name in ("a", "b", "c", "d"):
            assert [str(number) for number in range(10)] == [step.name for step in state.steps(f"1-{name}")]


def test_the_journal_is_private(own_home: Home) -> None:
    """Requests hold scripts, and scripts hold secrets: nobody else reads the journal."""
    os.umask(os.umask(0))
    with State(own_home):
        pass

    assert 0o600 == own_home.state_file.stat().st_mode & 0o777
    assert 0o700 == own_home.root.stat().st_mode & 0o777


def test_a_journal_of_the_version_before_is_gone_on_with(own_home: Home) -> None:
    """What an earlier cm has written is still there, and takes what this one adds."""
    with State(own_home) as state:
        state.add_cluster(CLUSTER, RECORD)
    with sqlite3.connect(own_home.state_file) as db:
        db.execute("ALTER TABLE clusters DROP COLUMN verdict")
        db.execute("ALTER TABLE nodes DROP COLUMN host_key_from")
        db.execute("PRAGMA user_version=1")

    with State(own_home) as state:
        assert CLUSTER == state.cluster("t")
        state.put_host_keys("t", "t-master", HostKeys(("ssh-ed25519 A",), "handle"))
        assert "handle" == state.cluster("t").master.host_key_from


def test_a_journal_of_another_version_is_refused(own_home: Home) -> None:
    """A journal that a later cm has written is not touched."""
    with State(own_home):
        pass
    with sqlite3.connect(own_home.state_file) as db:
        db.execute("PRAGMA user_version=99")

    with pytest.raises(CmError, match="version 99"):
        State(own_home)


def test_the_journal_works_on_a_home_over_nfs(own_home: Home) -> None:
    """No write-ahead log, which needs shared memory, and every commit reaches the disk."""
    with State(own_home) as state:
        state.add_cluster(CLUSTER, RECORD)
        assert "delete" == state._db.execute("PRAGMA journal_mode").fetchone()[0]
        assert 2 == state._db.execute("PRAGMA synchronous").fetchone()[0]
    assert ["state.db"] == [path.name for path in own_home.root.glob("state.db*")]
