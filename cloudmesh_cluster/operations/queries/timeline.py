"""Where the time of an operation went: what ran when on which node, what waited for what, what was decisive.

Nothing here is measured: all of it follows from the events that the operation left in the journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from cloudmesh_cluster.core.events import Event

BarState = Literal["done", "failed", "unfinished"]
BLINK = 0.05  # seconds between the end of one thing and the begin of the next that it let begin
WORTH_A_WORD = 0.01  # the part of the whole time from which on a pause is told
CHECKS = "verify"  # the step whose single results are told with their seconds


@dataclass(frozen=True)
class Bar:
    """Something that ran, or a node that waited.

    Args:
        node: where; empty for what the client did for all.
        step: what ("reach", "hadoop install"...).
        begin: seconds after the operation began.
        end: likewise.
        state: how it ended.
        message: what a failed one said.
        waited_for: what had to end before it, where that was not the thing before it on the same node.
        cause: the place of that in the timeline's bars; -1 where it waited for nothing.
        decisive: whether the operation had ended earlier if this had been shorter.
        check: whether it is a check.

    """

    node: str
    step: str
    begin: float
    end: float
    state: BarState = "done"
    message: str = ""
    waited_for: str = ""
    cause: int = -1
    decisive: bool = False
    check: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


@dataclass(frozen=True)
class Timeline:
    """An operation in time: `steps` of the whole cluster, `bars` by node in the order of nodes, `seconds` in all."""

    seconds: float
    steps: tuple[Bar, ...]
    bars: tuple[Bar, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that something ran on, and "" where the client did something for all of them."""
        return tuple(dict.fromkeys(bar.node for bar in self.bars))

    @property
    def decisive(self) -> tuple[Bar, ...]:
        """The chain of bars that the operation waited for from its begin to its end."""
        return tuple(sorted((bar for bar in self.bars if bar.decisive), key=lambda bar: bar.begin))


def timeline(events: Sequence[Event], *, began_at: str, ended_at: str | None, nodes: Sequence[str] = ()) -> Timeline:
    """Return the timeline of an operation.

    Args:
        events: what it told, oldest first.
        began_at: ISO 8601.
        ended_at: ISO 8601; None while it runs, and where it was killed.
        nodes: the order in which nodes are wanted; others follow by name.

    """
    zero = datetime.fromisoformat(began_at)
    times = [(datetime.fromisoformat(event.at) - zero).total_seconds() for event in events]
    last = max([*times, 0.0])
    end = last if ended_at is None else max((datetime.fromisoformat(ended_at) - zero).total_seconds(), 0.0)
    found = _bars(list(zip(times, events, strict=True)), end)
    steps = tuple(bar for bar in found if not bar.node and _holds_others(bar, found))
    leaves = [bar for bar in found if bar not in steps and not _is_nothing(bar)]
    order = {name: place for place, name in enumerate(("", *nodes))}
    leaves = _with_checks_joined(leaves)
    leaves.sort(key=lambda bar: (order.get(bar.node, len(order)), bar.node, bar.begin, bar.end))
    return Timeline(end, steps, tuple(_with_waits(_with_decisive(leaves), end)))


def _bars(timed: Sequence[tuple[float, Event]], end: float) -> list[Bar]:
    """Pair what began with what ended; what never ended goes on to the end of the operation."""
    bars: list[Bar] = []
    open_since: dict[tuple[str, str], float] = {}
    for at, event in timed:
        key = (event.node, event.step)
        if event.kind == "begin":
            open_since[key] = at
        elif event.kind in ("done", "failed"):
            since = open_since.pop(key, at)
            begin = since if event.seconds is None else at - event.seconds
            bars.append(Bar(event.node, event.step, max(begin, 0.0), at, _ended(event), event.message))
        elif event.step == CHECKS and event.seconds is not None:
            name, _, found = event.message.partition(": ")
            state: BarState = "done" if event.kind == "info" else "failed"
            bars.append(Bar(event.node, name, max(at - event.seconds, 0.0), at, state, "" if state == "done" else found,
                            check=True))  # fmt: skip
    bars += [Bar(node, step, since, end, "unfinished") for (node, step), since in open_since.items()]
    return bars


def _ended(event: Event) -> BarState:
    if event.kind == "done":
        return "done"
    return "unfinished" if event.message == "stopped" else "failed"


def _holds_others(step: Bar, bars: Sequence[Bar]) -> bool:
    return any(bar.node and step.begin - BLINK <= bar.begin and bar.end <= step.end + BLINK for bar in bars)


def _is_nothing(bar: Bar) -> bool:
    """Return whether a bar is a step of the whole cluster in which there was nothing to do."""
    return not bar.node and bar.state == "done" and bar.seconds < BLINK


def _with_checks_joined(bars: Sequence[Bar]) -> list[Bar]:
    """Make one bar of the checks that ran at once on a node, named after the slowest."""
    joined = [bar for bar in bars if not bar.check]
    for node in dict.fromkeys(bar.node for bar in bars):
        groups: list[list[Bar]] = []
        for bar in sorted((b for b in bars if b.node == node and b.check), key=lambda b: b.begin):
            if groups and bar.begin <= max(each.end for each in groups[-1]):
                groups[-1].append(bar)
            else:
                groups.append([bar])
        joined += [_one_of(group) for group in groups]
    return joined


def _one_of(checks: Sequence[Bar]) -> Bar:
    slowest = max(checks, key=lambda bar: bar.seconds)
    failed = [bar for bar in checks if bar.state == "failed"]
    others = f" and {len(checks) - 1} other checks" if len(checks) > 1 else ""
    return Bar(
        slowest.node, f"check {(failed or [slowest])[0].step}{others}",
        min(bar.begin for bar in checks), max(bar.end for bar in checks),
        "failed" if failed else "done", "; ".join(f"{bar.step}: {bar.message}" for bar in failed),
        check=True,
    )  # fmt: skip


def _with_decisive(bars: Sequence[Bar]) -> list[Bar]:
    """Mark the chain that ends with what ended last: each of its bars let the next one begin."""
    decisive: set[int] = set()
    at = max(range(len(bars)), key=lambda i: bars[i].end, default=None)
    while at is not None:
        decisive.add(at)
        at = _before(bars, bars[at], but=decisive)
    return [replace(bar, decisive=place in decisive) for place, bar in enumerate(bars)]


def _before(bars: Sequence[Bar], bar: Bar, *, but: set[int]) -> int | None:
    """Return what ended last before a bar began; on the same node if that is as good."""
    earlier = [
        i for i, each in enumerate(bars)
        if i not in but and each.end <= bar.begin + min(BLINK, each.seconds / 2) and each.begin < bar.begin
    ]  # fmt: skip
    last = max((bars[i].end for i in earlier), default=0.0)
    as_good = [i for i in earlier if last - bars[i].end < BLINK]
    return max(as_good, key=lambda i: (bars[i].node == bar.node, bars[i].end), default=None)


def _with_waits(bars: Sequence[Bar], end: float) -> list[Bar]:
    """Say for each bar that did not follow the one before it at once what it waited for."""
    told = []
    for place, bar in enumerate(bars):
        before = max((each.end for each in bars[:place] if each.node == bar.node), default=0.0)
        cause = _before(bars, bar, but={place})
        waited = bar.begin - before > max(BLINK, end * WORTH_A_WORD)
        if waited and cause is not None and bars[cause].node != bar.node and bars[cause].end > before:
            what = ": ".join(filter(None, (bars[cause].node, bars[cause].step)))
            told.append(replace(bar, waited_for=what, cause=cause))
        else:
            told.append(bar)
    return told
