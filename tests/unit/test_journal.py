"""A running operation writes a step down before it is done, and keeps what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.journal import FLUSH_AFTER, Journal, new_operation
from cloudmesh_cluster.state.store import State


@pytest.fixture
def told() -> list[Event]:
    """Return the list of what the listener was told."""
    return []


@pytest.fixture
def journal(tmp_path: Path, told: list[Event]) -> Iterator[Journal]:
    """Return the journal of a fresh operation `create` on `t`."""
    with State(Home(tmp_path / "home", tmp_path / "cache")) as state:
        operation = new_operation("t", "create", '{"a": 1}')
        state.begin_operation(operation)
        yield Journal(state, operation, told.append)


def steps(journal: Journal) -> list[tuple[str, str]]:
    """Return name and state of the steps that are written down."""
    return [(step.name, step.state) for step in journal.state.steps(journal.operation.id)]


def test_a_step_is_written_down_before_it_is_done(journal: Journal) -> None:
    """While a step runs the journal has it with its undo; afterwards it says done and how long it took."""
    with journal.step("prepare", undo={"kind": "cluster"}):
        assert [("prepare", "begun")] == steps(journal)
        assert {"kind": "cluster"} == journal.state.steps(journal.operation.id)[0].undo

    assert [("prepare", "done")] == steps(journal)
    assert ["prepare"] == [each.name for each in journal.times]


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("no"), "no"), (ValueError(), "ValueError"), (asyncio.CancelledError(), "stopped")]
)
def test_a_step_that_fails_says_so(journal: Journal, told: list[Event], error: BaseException, said: str) -> None:
    """An error passes through, the step is written down as failed, and the events say why."""
    with pytest.raises(type(error)), journal.step("prepare"):
        raise error

    assert [("prepare", "failed")] == steps(journal)
    assert [("begin", ""), ("failed", said)] == [(e.kind, e.message) for e in told]
    assert ["begin", "failed"] == [event.kind for _, event in journal.state.events("t")]


def test_what_is_told_is_kept(journal: Journal, told: list[Event]) -> None:
    """Listener and journal have the same events in the same order; warnings are repeated in the summary."""
    with journal.progress("reach", node="t-master"):
        journal.info("words")
        journal.warn("careful", node="t-master")
        journal.warn("all of you")
    journal.flush()

    assert told == [event for _, event in journal.state.events("t")]
    assert ["t-master: careful", "all of you"] == journal.warnings


def test_events_are_written_in_batches(journal: Journal) -> None:
    """A chatty script costs a transaction for many lines, not one for each; no line is lost."""
    for number in range(FLUSH_AFTER + 1):
        journal.info(str(number))
    assert FLUSH_AFTER == len(journal.state.events("t"))
    journal.flush()
    journal.flush()

    assert [str(number) for number in range(FLUSH_AFTER + 1)] == [e.message for _, e in journal.state.events("t")]


def test_operations_have_names_that_sort_by_time() -> None:
    """An operation's id says when and what, differs from all others, and can be a folder."""
    first, second = (new_operation("t", "write", "{}") for _ in range(2))

    assert first.id != second.id
    assert "-write-" in first.id
    assert first.id.replace("-", "").isalnum()
    assert first.id[:15] <= second.id[:15]
