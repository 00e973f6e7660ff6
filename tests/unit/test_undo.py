"""An operation that ends badly: what is undone, in which order, what stays, and what is raised. No node is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from cloudmesh_cluster.core.errors import (
    ClusterBusy,
    CmError,
    Interrupted,
    LeftBehind,
    NotFound,
    OperationFailed,
    UsageError,
)
from cloudmesh_cluster.core.events import Event, silent
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, Leftover, Node, Profile
from cloudmesh_cluster.core.tasks import task_group
from cloudmesh_cluster.operations.delete import DeleteRequest, delete
from cloudmesh_cluster.operations.session import OnFailure, Session
from cloudmesh_cluster.operations.transaction import undo
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.store import State

RECORD = ClusterRecord(Profile("default", "default.yaml"), "local", {}, "10.0.0.0/16")
Body = Callable[[Session], Any]


@pytest.fixture
def own_home(tmp_path: Path) -> Home:
    """Return an empty home."""
    return Home(tmp_path / "home", tmp_path / "cache")


def prepare(current: Session) -> None:
    """Make a cluster without nodes."""
    with current.journal.step("prepare", undo={"kind": "cluster"}):
        current.state.add_cluster(Cluster(current.name, "creating", "local", "default", "now"), RECORD)
        current.home.cluster(current.name).mkdir()
        current.home.bootstrap_key(current.name, current.journal.operation.id).touch()


def run(home: Home, body: Body, *, kind: str = "create", on_failure: OnFailure = "rollback", **options: Any) -> None:
    """Run an operation on `t` whose body may fail."""

    async def work() -> None:
        options.setdefault("emit", silent)
        async with session(home, "t", kind, DeleteRequest(), on_failure=on_failure, **options) as current:
            result = body(current)
            if result is not None:
                await result

    asyncio.run(work())


def fail(current: Session) -> None:
    """Make a cluster, then fail."""
    prepare(current)
    raise CmError("no luck", hint="try harder")


def last(home: Home) -> tuple[str, str, str]:
    """Return kind, state and error of the newest operation."""
    with State(home) as state:
        operation = state.operations("t")[-1]
    return operation.kind, operation.state, operation.error


def names(home: Home) -> list[str]:
    """Return the clusters that the journal has."""
    with State(home) as state:
        return state.cluster_names()


def test_a_failed_operation_is_undone(own_home: Home) -> None:
    """A failure removes the row, the folder and the keys of the cluster; the history keeps what it was."""
    with pytest.raises(OperationFailed, match="no luck") as failed:
        run(own_home, fail)

    assert ("rolled back", "try harder") == (failed.value.outcome, failed.value.hint)
    assert [] == names(own_home)
    assert not own_home.cluster("t").exists()
    assert ("create", "rolled back", "no luck") == last(own_home)


def test_a_failed_operation_is_kept_where_that_is_asked(own_home: Home) -> None:
    """Without a rollback everything stays, the key of a later resume too, and the cluster is not called ready."""
    with pytest.raises(OperationFailed) as failed:
        run(own_home, fail, on_failure="keep")

    assert "kept" == failed.value.outcome
    with State(own_home) as state:
        assert "failed" == state.cluster("t").state
    assert [f"bootstrap-{failed.value.operation}"] == [path.name for path in own_home.cluster("t").iterdir()]
    assert ("create", "failed", "no luck") == last(own_home)


def test_what_is_done_is_not_undone(own_home: Home) -> None:
    """An operation that ends well keeps what it made, but for the key that its nodes booted with."""
    run(own_home, prepare)

    assert ["t"] == names(own_home)
    assert [] == list(own_home.cluster("t").iterdir())
    assert ("create", "done", "") == last(own_home)


def test_looking_and_writing_do_not_change_the_clusters_state(own_home: Home) -> None:
    """A verify that fails leaves the cluster as ready as it was."""
    run(own_home, prepare)
    with State(own_home) as state:
        state.set_cluster_state("t", "ready")

    def not_well(current: Session) -> None:
        raise CmError("not well")

    for kind in ("verify", "write"):
        with pytest.raises(OperationFailed):
            run(own_home, not_well, kind=kind, on_failure="keep")
        with State(own_home) as state:
            assert "ready" == state.cluster("t").state


def test_steps_are_undone_newest_first_and_once(own_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of this operation alone are undone in reverse order; one without an undo, or undone before, is not."""
    done: list[str] = []

    async def note(current: Session, request: dict[str, Any]) -> None:
        done.append(request["name"])

    monkeypatch.setitem(undo.UNDO, "note", note)

    def body(current: Session) -> None:
        for name in ("first", "second", "third"):
            with current.journal.step(name, undo={"kind": "note", "name": name}):
                pass
        with current.journal.step("nothing to undo"):
            pass
        second = current.state.steps(current.journal.operation.id)[1]
        current.state.end_step(second.id, state="undone")
        raise CmError("no")

    run(own_home, lambda current: None)
    with pytest.raises(OperationFailed):
        run(own_home, body)

    assert ["third", "first"] == done


def test_an_undo_that_fails_keeps_no_other_from_being_tried(own_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of all undos is raised together, each piece once, and the cluster stays listed, for its delete."""
    told: list[Event] = []
    tried: list[str] = []

    async def stumble(current: Session, request: dict[str, Any]) -> None:
        tried.append(request["name"])
        if request["name"] == "unnamed":
            raise OSError("disk on fire")
        raise LeftBehind([Leftover("folder", "/x"), Leftover("process", request["name"])])

    monkeypatch.setitem(undo.UNDO, "stumble", stumble)

    def body(current: Session) -> None:
        prepare(current)
        for name in ("1", "unnamed", "2"):
            with current.journal.step(name, undo={"kind": "stumble", "name": name}):
                pass
        raise CmError("no luck")

    with pytest.raises(LeftBehind, match="no luck") as left:
        run(own_home, body, emit=told.append)

    assert ["2", "unnamed", "1"] == tried
    pieces = [(piece.kind, piece.id) for piece in left.value.leftovers]
    assert [("folder", "/x"), ("process", "2"), ("step", "unnamed"), ("process", "1")] == pieces
    assert "cm cluster delete t" in left.value.hint
    assert 4 == left.value.exit_code
    assert ("create", "failed", "no luck") == last(own_home)
    assert any("disk on fire" in event.message for event in told if event.kind == "warning")
    with State(own_home) as state:
        assert "failed" == state.cluster("t").state


def test_what_is_left_is_not_forgotten(own_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of which something could not be undone stays known, so that it can be resumed or deleted."""

    async def stumble(current: Session, request: dict[str, Any]) -> None:
        raise LeftBehind([Leftover("plugin", "x")])

    monkeypatch.setitem(undo.UNDO, "stumble", stumble)

    def body(current: Session) -> None:
        prepare(current)
        with current.journal.step("all", undo={"kind": "stumble"}):
            raise CmError("no luck")

    with pytest.raises(LeftBehind):
        run(own_home, body)

    with State(own_home) as state:
        assert "failed" == state.cluster("t").state


def test_an_undo_that_was_cut_off_is_finished(own_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is known as being undone until all of it is; that, and nothing else, is undone before a resume goes on."""
    done: list[tuple[str, str]] = []

    async def note(current: Session, request: dict[str, Any]) -> None:
        steps = current.state.steps(current.journal.operation.id)
        done.append((request["name"], next(each.state for each in steps if each.name == request["name"])))
        if len(done) == 1:
            raise KeyboardInterrupt

    monkeypatch.setitem(undo.UNDO, "note", note)

    async def body(current: Session) -> None:
        for name in ("first", "second"):
            with current.journal.step(name, undo={"kind": "note", "name": name}):
                pass
        with pytest.raises(KeyboardInterrupt):
            await undo.roll_back(current)
        await undo.finish_undoing(current)
        await undo.finish_undoing(current)

    run(own_home, body)

    assert [("second", "undoing"), ("second", "undoing")] == done


def test_a_cancel_rolls_back(own_home: Home) -> None:
    """A cancelled operation is undone and says that it was interrupted; a second cancel does not stop the undo."""
    ready, undoing = asyncio.Event(), asyncio.Event()

    async def sleep(current: Session) -> None:
        prepare(current)
        ready.set()
        await asyncio.sleep(60)

    def listen(event: Event) -> None:
        if event.step == "roll back":
            undoing.set()

    async def work() -> None:
        async with session(own_home, "t", "create", DeleteRequest(), emit=listen, on_failure="rollback") as current:
            await sleep(current)

    async def cancelled() -> None:
        task = asyncio.ensure_future(work())
        await ready.wait()
        task.cancel()
        await undoing.wait()
        task.cancel()
        await task

    with pytest.raises(Interrupted, match="create interrupted, rolled back") as interrupted:
        asyncio.run(cancelled())

    assert 130 == interrupted.value.exit_code
    assert [] == names(own_home)
    assert ("create", "rolled back", "interrupted") == last(own_home)


def test_time_that_runs_out_is_a_failure(own_home: Home) -> None:
    """An operation that takes too long is undone and says so."""

    async def sleep(current: Session) -> None:
        prepare(current)
        await asyncio.sleep(60)

    with pytest.raises(OperationFailed, match="out of time"):
        run(own_home, sleep, timeout=0.05)

    assert [] == names(own_home)


def test_a_refusal_writes_nothing(own_home: Home) -> None:
    """What is refused before it begins has no place in the history."""

    def refuse(state: State) -> None:
        raise UsageError("never")

    with pytest.raises(UsageError, match="never"):
        run(own_home, prepare, refuse=refuse)

    with State(own_home) as state:
        assert [] == state.operations("t")


def test_an_operation_within_an_operation_is_refused(own_home: Home) -> None:
    """One operation at a time, also within one process."""
    with pytest.raises(ClusterBusy):
        run(own_home, lambda current: run_inner(own_home))


async def run_inner(home: Home) -> None:
    """Begin another operation on the same cluster."""
    async with session(home, "t", "scale", DeleteRequest(), emit=silent):
        pytest.fail("two operations at once")


@pytest.mark.parametrize(("provider_type", "expected"), [("baremetal", ["t-master"]), ("local", [])])
def test_a_machine_that_is_logged_in_to_runs(own_home: Home, provider_type: str, expected: list[str]) -> None:
    """A machine that is too busy to greet once more counts as running while the operation is connected to it."""
    master = Node("t-master", "master", 0, "running", "10.0.0.1")
    silent_provider = SimpleNamespace(states=lambda name: {"t-master": "unreachable"})
    connected = SimpleNamespace(is_open=lambda node: True, close=AsyncMock())

    def body(current: Session) -> None:
        record = replace(RECORD, provider_type=provider_type)
        current.state.add_cluster(Cluster("t", "ready", "x", "default", "now", (master,)), record)
        current.__dict__.update(_provider=silent_provider, _connections=connected)
        assert expected == [node.name for node in current.running([master])]

    run(own_home, body)


def test_task_groups_raise_what_failed() -> None:
    """Not a group of errors comes out but the error that came first."""

    async def work() -> None:
        async with task_group() as outer:
            outer.create_task(stumble())

    async def stumble() -> None:
        async with task_group() as inner:
            inner.create_task(asyncio.sleep(60))
            raise CmError("first")

    with pytest.raises(CmError, match="first"):
        asyncio.run(work())


def test_delete_forgives_what_is_gone_and_refuses_what_never_was(own_home: Home) -> None:
    """Deleting again is no error; a name that never was is, and then nothing else is deleted either."""
    run(own_home, prepare)
    with pytest.raises(NotFound):
        asyncio.run(delete(own_home, ["t", "never"], silent))
    assert ["t"] == names(own_home)

    asyncio.run(delete(own_home, ["t", "t"], silent))
    asyncio.run(delete(own_home, ["t"], silent))
    assert [] == names(own_home)
    assert not own_home.cluster("t").exists()


def test_delete_ends_what_was_unfinished(own_home: Home) -> None:
    """A cluster that is made again under a deleted name knows nothing of what was interrupted before."""
    with pytest.raises(OperationFailed):
        run(own_home, fail, on_failure="keep")
    asyncio.run(delete(own_home, ["t"], silent))
    run(own_home, prepare)

    with State(own_home) as state:
        assert state.unfinished("t") is None
        assert ["deleted", "done", "done"] == [each.state for each in state.operations("t")]
