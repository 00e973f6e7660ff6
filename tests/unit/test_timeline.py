"""The timeline of an operation follows from its events: what ran when, what waited for what, what was decisive."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

from cloudmesh_cluster.core.events import Event, EventKind
from cloudmesh_cluster.operations.queries.timeline import Timeline, timeline
from cloudmesh_cluster.views.pages import timeline_svg

ZERO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
M, W = "t-master", "t-worker-1"


def at(seconds: float) -> str:
    """Return a moment of the operation as the journal has it."""
    return (ZERO + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def said(
    kind: EventKind, when: float, step: str, node: str = "", message: str = "", took: float | None = None
) -> Event:
    """Return an event at a moment."""
    return Event(kind, step, node, message, took, at(when))


def ran(step: str, node: str, begin: float, end: float) -> list[Event]:
    """Return the events of something that ran and was done."""
    return [said("begin", begin, step, node), said("done", end, step, node, took=end - begin)]


def line(*events: Event | list[Event], ended: float | None = 10.0) -> Timeline:
    """Return the timeline of events in any order."""
    flat = [each for group in events for each in (group if isinstance(group, list) else [group])]
    ordered = sorted(flat, key=lambda event: event.at)
    return timeline(ordered, began_at=at(0), ended_at=None if ended is None else at(ended), nodes=[M, W])


def test_waits_and_the_decisive_chain() -> None:
    """A worker that starts after the master waited for it; the chain leaves out what nobody waited for."""
    found = line(
        ran("scripts", "", 1, 10),
        ran("reach", M, 0, 1), ran("reach", W, 0, 2),
        ran("hadoop start", M, 2, 6), ran("hadoop start", W, 6, 10),
    )  # fmt: skip

    assert [(bar.node, bar.step, bar.seconds) for bar in found.decisive] == [
        (W, "reach", 2), (M, "hadoop start", 4), (W, "hadoop start", 4),
    ]  # fmt: skip
    waits = {(bar.node, bar.step): bar.waited_for for bar in found.bars if bar.waited_for}
    assert waits == {(M, "hadoop start"): f"{W}: reach", (W, "hadoop start"): f"{M}: hadoop start"}
    assert [found.bars[bar.cause].node for bar in found.bars if bar.waited_for] == [W, M]
    assert [step.step for step in found.steps] == ["scripts"]
    assert found.seconds == 10


def test_a_short_step_is_not_left_out_of_the_chain() -> None:
    """What took a blink after a longer step on the same node let the next begin; what ran beside it did not."""
    found = line(
        ran("propagate names", W, 1, 5),
        ran("wire", M, 5.001, 5.036), ran("wire", W, 5.003, 5.035),
        ran("hadoop start", W, 5.04, 10),
    )  # fmt: skip

    assert [(bar.node, bar.step) for bar in found.decisive] == [
        (W, "propagate names"), (W, "wire"), (W, "hadoop start"),
    ]  # fmt: skip


def test_checks_that_ran_at_once_are_one_bar() -> None:
    """The results of checks on a node become one bar, called after the slowest, or after the one that failed."""
    good = [said("info", 3, "verify", M, "names: ok", 1), said("info", 9, "verify", M, "word count: ok", 7)]
    [bar] = line(good).bars
    assert (bar.step, bar.begin, bar.end, bar.state) == ("check word count and 1 other checks", 2, 9, "done")

    [bar] = line(good, said("warning", 4, "verify", M, "clocks: expected 5 s, found 9 s", 2)).bars
    assert (bar.step, bar.state) == ("check clocks and 2 other checks", "failed")
    assert bar.message == "clocks: expected 5 s, found 9 s"


def test_what_never_ended_is_told() -> None:
    """A step that was cut off with its process goes on to the last thing that is known; a stopped one is not failed."""
    stopped = [said("begin", 1, "push", W), said("failed", 3, "push", W, "stopped", 2)]
    failed = [said("begin", 1, "push", M), said("failed", 3, "push", M, "exit status 7", 2)]
    found = line(said("begin", 0, "reach", M), stopped, failed, ended=None)

    assert [(bar.node, bar.step, bar.end, bar.state) for bar in found.bars] == [
        (M, "reach", 3, "unfinished"), (M, "push", 3, "failed"), (W, "push", 3, "unfinished"),
    ]  # fmt: skip
    assert line(ended=None).bars == ()


def test_picture_holds_every_bar_and_no_markup_of_others() -> None:
    """Each bar has its box with its words, each node its lane; what a script is called can't become markup."""
    evil = "script <b onload='x'>&\""
    found = line(ran("reach", M, 0, 1), ran(evil, W, 1, 10))

    svg = timeline_svg(found, title="create <t>")
    root = ET.fromstring(svg)  # noqa: S314  (our own)

    titles = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0] == "create <t>"
    assert f"{M}: reach, 1.0 s" in titles
    assert any(title.startswith(f"{W}: {evil}, 9.0 s; waited for {M}: reach") for title in titles)
    assert "<b" not in svg
    numbers = [float(value) for value in re.findall(r'(?:x|width)="([\d.-]+)"', svg)]
    assert min(numbers) >= 0
    assert max(numbers) <= 1080
