"""A timeline as a picture: what is drawn where, for the template that draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloudmesh_cluster.operations.queries.timeline import Bar, Timeline

WIDTH, GUTTER, TOP, ROW, LANE_GAP = 1080, 150, 46, 22, 6
LETTER = 6.3  # the width of a letter, about
LEAST = 2.0  # the least width of a box, so that what took a blink is still seen
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
COLORS = {
    "boot": "#3f76d6",
    "wire": "#b8860b",
    "install": "#8556c9",
    "run": "#0f8f7b",
    "check": "#4b8f29",
    "other": "#6b7484",
    "failed": "#d03a3a",
}
MEANINGS = {
    "boot": "boot and first contact",
    "wire": "names and keys",
    "install": "fetch, push, install",
    "run": "start, your scripts",
    "check": "checks",
    "other": "other",
    "failed": "failed",
}
_WORDS = {
    "boot": ("provision", "reach", "destroy", "start nodes", "stop nodes", "rebuild"),
    "wire": ("wire", "propagate"),
    "install": ("push", "packages", "fetch", "image", "install", "uninstall"),
    "run": ("start", "stop", "join", "leave", "script"),
}


@dataclass(frozen=True)
class Box:
    """Something with a place, a width, words and a colour; `strong` is what the operation waited for."""

    x: float
    y: float
    width: float
    label: str = ""
    title: str = ""
    color: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Lane:
    """The rows of a node."""

    y: float
    height: float
    label: str


@dataclass(frozen=True)
class Arrow:
    """From the end of what was waited for to what waited."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Picture:
    """A timeline, ready to be drawn; lengths are pixels."""

    title: str
    height: float
    bands: tuple[Box, ...]
    ticks: tuple[Box, ...]
    lanes: tuple[Lane, ...]
    boxes: tuple[Box, ...]
    waits: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    width: float = WIDTH
    gutter: float = GUTTER
    top: float = TOP


def category(bar: Bar) -> str:
    """Return what sort of work a bar is: a key of COLORS."""
    if bar.state == "failed":
        return "failed"
    if bar.check:
        return "check"
    words = bar.step.split()
    exact = (kind for kind, known in _WORDS.items() if bar.step in known)
    first = (kind for kind, known in _WORDS.items() if words and words[0] in known)
    last = (kind for kind, known in _WORDS.items() if words and words[-1] in known)
    return next(iter((*exact, *first, *last)), "other")


def picture(line: Timeline, *, title: str) -> Picture:
    """Return where everything of a timeline is drawn."""
    scale = (WIDTH - GUTTER - 12) / max(line.seconds, 0.001)
    rows, lanes = _rows(line)
    boxes = tuple(_box(bar, rows[place], scale) for place, bar in enumerate(line.bars))
    waits, arrows = [], []
    for place, bar in enumerate(line.bars):
        if bar.cause < 0:
            continue
        since = max((each.end for each in line.bars[:place] if each.node == bar.node), default=0.0)
        middle = rows[place] + 10
        width = (bar.begin - since) * scale
        waits.append(Box(_x(since, scale), middle, width, title=f"{bar.node} waited for {bar.waited_for}"))
        if bar.decisive:
            cause = line.bars[bar.cause]
            arrows.append(Arrow(_x(cause.end, scale), rows[bar.cause] + 10, _x(bar.begin, scale), middle))
    height = lanes[-1].y + lanes[-1].height + 8 if lanes else TOP
    return Picture(
        title, height, _bands(line, scale), _ticks(line.seconds, scale), lanes, boxes, tuple(waits), tuple(arrows)
    )


def _x(seconds: float, scale: float) -> float:
    return round(GUTTER + seconds * scale, 1)


def _rows(line: Timeline) -> tuple[list[float], tuple[Lane, ...]]:
    """Return the height of each bar's row, and the lanes: bars of a node that overlap stand in rows of their own."""
    rows, lanes, y = [0.0] * len(line.bars), [], float(TOP)
    for node in line.nodes:
        ends: list[float] = []
        for place, bar in enumerate(line.bars):
            if bar.node != node:
                continue
            row = next((i for i, end in enumerate(ends) if end <= bar.begin + 0.01), len(ends))
            ends[row:] = [bar.end, *ends[row + 1 :]]
            rows[place] = y + row * ROW
        height = max(len(ends), 1) * ROW
        lanes.append(Lane(y, height, node or "client"))
        y += height + LANE_GAP
    return rows, tuple(lanes)


def _box(bar: Bar, y: float, scale: float) -> Box:
    width = max(round(bar.seconds * scale, 1), LEAST)
    title = f"{bar.node or 'client'}: {bar.step}, {bar.seconds:.1f} s"
    title += f"; waited for {bar.waited_for}" if bar.waited_for else ""
    title += {"done": "", "failed": f"; failed: {bar.message}", "unfinished": "; cut off"}[bar.state]
    return Box(
        _x(bar.begin, scale), y, width, _fitting(bar.step, width), title, COLORS[category(bar)],
        bar.decisive or bar.state == "failed",
    )  # fmt: skip


def _fitting(label: str, width: float) -> str:
    room = int((width - 8) / LETTER)
    if len(label) <= room:
        return label
    return label[: room - 1] + "…" if room > 5 else ""


def _bands(line: Timeline, scale: float) -> tuple[Box, ...]:
    bands = []
    for step in line.steps:
        width = max(round(step.seconds * scale, 1), 1.0)
        label = step.step if len(step.step) * LETTER + 6 <= width else ""
        bands.append(Box(_x(step.begin, scale), 0, width, label, f"{step.step}: {step.seconds:.1f} s"))
    return tuple(bands)


def _ticks(seconds: float, scale: float) -> tuple[Box, ...]:
    step = next((each for each in TICKS if seconds / each <= 12), TICKS[-1])
    count = int(seconds / step) + 1
    return tuple(Box(_x(i * step, scale), 0, 0, _time(i * step)) for i in range(count))


def _time(seconds: float) -> str:
    if seconds >= 60:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
    return f"{seconds:g} s"


def legend(bars: Sequence[Bar]) -> list[tuple[str, str]]:
    """Return colour and meaning of each sort of work that occurs."""
    kinds = {category(bar) for bar in bars}
    return [(COLORS[kind], MEANINGS[kind]) for kind in COLORS if kind in kinds]
