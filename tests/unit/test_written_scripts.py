"""Scripts as the journal knows them: which are an operation's own, where they count, how often one is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import OperationFailed, RemoteFailed
from cloudmesh_cluster.core.events import silent
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.built_in_checks import check_scripts
from cloudmesh_cluster.operations.transaction import undo as undoing
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.operations.write import WriteRequest, carry_out
from cloudmesh_cluster.state.records import WrittenScript
from cloudmesh_cluster.state.store import State
from tests.support.journalled import add_cluster

STORED = WriteRequest("t", "worker", b"true\n", "stdin", run=False)
FOREIGN = WrittenScript(0, "worker", "stdin", "0" * 64, b"false\n", "2999-01-01", "remembered", "another")


@pytest.fixture
def own_home(tmp_path: Path) -> Home:
    """Return a home with a cluster `t` of two workers that only the journal knows."""
    home = Home(tmp_path / "home", tmp_path / "cache")
    add_cluster(home, "t")
    return home


def write(home: Home, body: Callable[[Session], Awaitable[object]]) -> None:
    """Run a write of which only the body is done."""

    async def work() -> None:
        async with session(home, "t", "write", STORED, emit=silent, on_failure="rollback") as current:
            await body(current)

    asyncio.run(work())


def test_an_operation_knows_its_script_whatever_the_clock_says(own_home: Home) -> None:
    """However often an operation is resumed, its script is stored once; one from the future is not mistaken for it."""

    async def again_and_again(current: Session) -> None:
        for _ in range(3):
            await carry_out(current, STORED)

    with State(own_home) as state:
        state.add_script("t", FOREIGN)
        write(own_home, again_and_again)
        write(own_home, again_and_again)

        assert [b"false\n", b"true\n", b"true\n"] == [script.content for script in state.scripts("t")]


def test_a_stored_script_is_expected_of_later_nodes_only(own_home: Home) -> None:
    """Nodes that were there need not run what was only stored; those that come later, and other scripts, count."""
    found: list[str] = []

    async def look(current: Session) -> None:
        await carry_out(current, STORED)
        written = current.state.add_script("t", FOREIGN)
        answers = [CommandResult("t-worker-1", 0, "", "", 0.1), CommandResult("t-worker-2", 1, "", "", 0.1)]
        current.state.add_runs(written, answers)
        current.state.put_nodes("t", [Node("t-worker-3", "worker", 3, "running", "10.0.0.9")])
        found.extend(result.actual for result in check_scripts(current))

    write(own_home, look)

    later = "stdin: did not run; stdin: did not run"
    assert ["0 ran as expected", "1 ran as expected", "stdin: exit 1", later] == found


def test_a_resumed_script_is_taken_back_once(own_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are rebuilt once although the write that failed has a step from before it was interrupted."""
    rebuilt: list[list[str]] = []

    async def note(current: Session, nodes: Sequence[Node]) -> None:
        rebuilt.append([node.name for node in nodes])

    monkeypatch.setattr(undoing, "rebuild", note)

    async def fail(current: Session) -> None:
        script = current.state.add_script("t", replace(FOREIGN, operation=current.journal.operation.id))
        undo = {"kind": "script", "script": script, "recovery": "rebuild", "nodes": ["t-worker-1", "t-worker-2"]}
        for _ in range(2):
            with current.journal.step("script stdin", undo=undo):
                pass
        raise RemoteFailed("no", [])

    with pytest.raises(OperationFailed):
        write(own_home, fail)

    assert [["t-worker-1", "t-worker-2"]] == rebuilt
    with State(own_home) as state:
        assert [] == state.scripts("t")
