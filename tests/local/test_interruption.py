"""A `cm` that dies at any instant: `resume` finishes what it did, or `delete` leaves nothing of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.queries.inspect import cluster as cluster_as_it_is
from cloudmesh_cluster.operations.queries.inspect import clusters
from tests.support.command_line import CommandLine
from tests.support.journal_watch import NODE_REACHED, WRITTEN_DOWN, Instant, begun, done, signalled
from tests.support.traces import traces

PROFILE = """\
name: slow
roles: {worker: {count: 1}}
scripts:
  all: [{name: everywhere, run: 'echo began; sleep 0.3; echo all >>/var/tmp/ran'}]
  worker: [{name: workers, run: 'echo began; sleep 0.3; echo worker >>/var/tmp/ran'}]
checks:
  - {name: scripts have run, on: worker, run: 'sleep 0.3; sort -u /var/tmp/ran', expect: {stdout: "^all\\nworker$"}}
"""
SCRIPT = "echo began | tee -a /var/tmp/written; sleep 0.5; echo ended >>/var/tmp/written"
CREATE = (
    WRITTEN_DOWN,
    begun("prepare"),
    Instant("cluster written down", "SELECT 1 FROM clusters"),
    begun("image"),
    begun("provision"),
    Instant("engine there", path="clusters/*/engine/engine.sock"),
    Instant("first disk there", path="clusters/*/engine/nodes/*/spec.json"),
    done("provision"),
    NODE_REACHED,
    begun("wire"),
    begun("scripts"),
    Instant("script of workers runs", path="clusters/*/logs/*-create-*/*-worker-1.workers.log"),
    begun("verify"),
    done("verify"),
)
GROW = (begun("join"), begun("provision"), NODE_REACHED, begun("wire"), begun("scripts"), begun("verify"))
SHRINK = (begun("leave"), begun("destroy"), begun("wire"), begun("verify"))
WRITE = (
    WRITTEN_DOWN,
    begun("script long.sh"),
    Instant("script runs", path="clusters/t/logs/*-write-*/t-worker-1.long.sh.log"),
    Instant(
        "script has run",
        "SELECT 1 FROM runs JOIN scripts ON script=scripts.id WHERE operation=:operation",
    ),
)
REPLACE = (begun("destroy"), begun("provision"), begun("verify"))
MAYBE_DONE = {CREATE[-1]: ("ready",), WRITE[-1]: ("ready",)}
"""The last instants: what is killed there may have written down already that it is done."""
DELETE = (WRITTEN_DOWN, begun("destroy"), begun("forget"))


def at(instants: tuple[Instant, ...]) -> pytest.MarkDecorator:
    """Return the mark that runs a test once for each instant."""
    return pytest.mark.parametrize("instant", instants, ids=str)


def state_of(cm: CommandLine, name: str) -> str:
    """Return the state of a cluster as `list` shows it, empty when it does not."""
    return next((each.state for each in clusters(Home(cm.home, cm.cache)) if each.name == name), "")


def states_of_nodes(cm: CommandLine, name: str) -> dict[str, str]:
    """Return the state of each node of a cluster as `nodes` shows it."""
    return {node.name: node.state for node in cluster_as_it_is(Home(cm.home, cm.cache), name).nodes}


def resume(cm: CommandLine, name: str, *, unless_done: bool) -> None:
    """Run `cm cluster resume`, unless it is right that there is nothing to do."""
    if not (unless_done and state_of(cm, name) == "ready"):
        cm("cluster", "resume", name)


def add_profile(home: Path) -> None:
    """Store a profile whose scripts and checks take long enough to be interrupted."""
    folder = home / "profiles.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slow.yaml").write_text(PROFILE)


@pytest.fixture
def slow(cm: CommandLine) -> CommandLine:
    """Return `cm` with the profile `slow` in a home of its own, where its temporary files are, too."""
    add_profile(cm.home)
    (cm.home / "clusters" / "tmp").mkdir(parents=True)
    return replace(cm, environ={"TMPDIR": str(cm.home / "clusters" / "tmp")})


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` that several tests interrupt and resume."""
    add_profile(shared_cm.home)
    shared_cm("cluster", "create", "t", "-p", "slow", timeout=600)
    yield shared_cm


@at(CREATE)
def test_a_killed_create_is_resumed_or_deleted(slow: CommandLine, instant: Instant) -> None:
    """Of two clusters whose create is killed at the same instant one is finished, the other one leaves nothing."""
    before = traces(slow.home)
    assert -signal.SIGKILL == signalled(slow, "cluster", "create", "gone", "-p", "slow", at=instant).exit
    assert state_of(slow, "gone") in ("", "interrupted", *MAYBE_DONE.get(instant, ()))
    slow("cluster", "delete", "gone", "-y")
    assert before == traces(slow.home)

    assert -signal.SIGKILL == signalled(slow, "cluster", "create", "t", "-p", "slow", at=instant).exit
    if state_of(slow, "t"):
        resume(slow, "t", unless_done=instant in MAYBE_DONE)
    else:  # it died before there was anything to resume
        slow("cluster", "resume", "t", expect=2)
        slow("cluster", "create", "t", "-p", "slow")
    assert "ready" == state_of(slow, "t")
    assert {"t-master": "running", "t-worker-1": "running"} == states_of_nodes(slow, "t")
    slow("cluster", "delete", "t", "-y")
    assert before == traces(slow.home)


def test_what_was_interrupted_is_resumed_or_deleted_first(slow: CommandLine) -> None:
    """An interrupted cluster is shown as such, refuses other operations, and can be resumed once."""
    signalled(slow, "cluster", "create", "t", "-p", "slow", at=done("provision"))
    assert "interrupted" in slow("cluster", "list").stdout
    assert "interrupted" in slow("cluster", "history", "t").stdout
    for words in (["verify", "t"], ["scale", "t", "+1"], ["write", "t", "all", "true"], ["create", "t"]):
        assert "cm cluster" in slow("cluster", *words, expect=2).stderr
    slow("cluster", "resume", "t")
    slow("cluster", "verify", "t")
    slow("cluster", "resume", "t", expect=2)


def test_a_killed_scale_is_resumed(cluster: CommandLine) -> None:
    """However far a growth or a shrink came, resume brings the cluster to the number of workers that was asked for."""
    for grow, shrink in zip(GROW, cycle(SHRINK)):
        for wanted, instant in (("2", grow), ("1", shrink)):
            assert -signal.SIGKILL == signalled(cluster, "cluster", "scale", "t", wanted, at=instant).exit
            assert "interrupted" == state_of(cluster, "t"), instant
            cluster("cluster", "resume", "t")
            assert 1 + int(wanted) == len(states_of_nodes(cluster, "t")), instant
            assert {"running"} == set(states_of_nodes(cluster, "t").values()), instant
            assert "ready" == state_of(cluster, "t"), instant
    cluster("cluster", "verify", "t", "--full-mesh")


def test_a_killed_scale_can_be_deleted(slow: CommandLine) -> None:
    """A cluster that was killed while it grew goes like any other, and leaves nothing."""
    before = traces(slow.home)
    slow("cluster", "create", "t", "-p", "slow", timeout=600)
    signalled(slow, "cluster", "scale", "t", "2", at=NODE_REACHED)
    slow("cluster", "delete", "t", "-y")

    assert before == traces(slow.home)


def test_a_killed_write_is_resumed(cluster: CommandLine) -> None:
    """However far a written script came, resume runs it to its end once more and remembers it once."""
    script = cluster.home / "long.sh"
    script.write_text(SCRIPT)
    for count, instant in enumerate(WRITE, start=1):
        killed = signalled(cluster, "cluster", "write", "t", "worker", "--file", str(script), at=instant)
        assert -signal.SIGKILL == killed.exit
        resume(cluster, "t", unless_done=instant in MAYBE_DONE)
        written = json.loads(cluster("cluster", "scripts", "t", "worker", "-f", "json").stdout)
        assert ["long.sh"] * count == [row["name"] for row in written if row["name"] == "long.sh"], instant
    said = cluster("cluster", "ssh", "t", "-t", "worker-1", "--", "sudo cat /var/tmp/written").stdout
    assert said == "began\nended\n" * (len(said) // len("began\nended\n")), "two runs of a script at once"
    assert len(WRITE) <= said.count("ended") <= 2 * len(WRITE)
    cluster("cluster", "verify", "t")


def test_a_killed_replace_is_resumed(cluster: CommandLine) -> None:
    """A node that was being replaced is whole after resume, and everything written before has run on it."""
    for instant in REPLACE:
        assert -signal.SIGKILL == signalled(cluster, "cluster", "replace", "t", "worker-1", at=instant).exit
        assert "interrupted" == state_of(cluster, "t"), instant
        cluster("cluster", "resume", "t")
        assert "ready" == state_of(cluster, "t"), instant
    cluster("cluster", "verify", "t")


@at(DELETE)
def test_a_killed_delete_is_finished(slow: CommandLine, instant: Instant) -> None:
    """A delete that was killed is finished by another one, and leaves nothing."""
    before = traces(slow.home)
    slow("cluster", "create", "t", "-p", "slow", timeout=600)
    assert -signal.SIGKILL == signalled(slow, "cluster", "delete", "t", "-y", at=instant).exit
    slow("cluster", "delete", "t", "-y")

    assert before == traces(slow.home)
    assert "" == state_of(slow, "t")


def test_a_killed_rollback_can_be_deleted(slow: CommandLine) -> None:
    """A rollback that was killed in its middle leaves a cluster that delete removes without a trace."""
    before = traces(slow.home)
    half_undone = Instant("half undone", "SELECT 1 FROM steps WHERE operation=:operation AND state='undone'")
    signalled(slow, "cluster", "create", "t", "-p", "slow", "--timeout", "1s", at=half_undone)
    slow("cluster", "delete", "t", "-y")

    assert before == traces(slow.home)


def test_a_resume_that_is_killed_is_resumed(slow: CommandLine) -> None:
    """What was killed twice is still finished by a third process."""
    signalled(slow, "cluster", "create", "t", "-p", "slow", at=begun("provision"))
    verify_begun = Instant("verify begun", "SELECT 1 FROM steps WHERE name='verify'")
    assert -signal.SIGKILL == signalled(slow, "cluster", "resume", "t", at=verify_begun).exit
    slow("cluster", "resume", "t")

    assert "ready" == state_of(slow, "t")
