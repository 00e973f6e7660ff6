"""Progress on a terminal: a line for each node at the bottom, and above it what stays."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.views.progress.progress import Told

DRAWINGS_A_SECOND = 5
SOON = 0.8  # seconds in which an operation without steps needs no picture
STYLES = {"failed": "bold red", "warning": "yellow", "output": "dim"}


@dataclass
class _NodeLine:
    """Where a node stands: its step, and since when."""

    step: str
    since: float
    ended: float | None = None
    failed: bool = False

    def elapsed(self, now: float) -> float:
        return (now if self.ended is None else self.ended) - self.since


class Standing:
    """Where an operation stands: a line for each node, the slowest last, and what has been said and not been shown."""

    def __init__(self) -> None:
        self.said: deque[Text] = deque()
        self._told = Told()
        self._step = ""
        self._step_since = self._since = time.monotonic()
        self._nodes: dict[str, _NodeLine] = {}

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._since

    def add(self, event: Event) -> None:
        """Take in what happened."""
        now = time.monotonic()
        if event.kind == "begin" and event.node:
            self._nodes[event.node] = _NodeLine(event.step, now)
        elif event.kind == "begin":
            self._step, self._step_since = event.step, now
            self._nodes = {name: line for name, line in self._nodes.items() if line.ended is None}
        elif event.kind in ("done", "failed") and event.node:
            self._end_node(event, now)
        if event.kind == "begin" or (event.node and event.kind == "done"):
            return
        if (text := self._told.line_of(event)) is not None:
            self.said.append(Text(text, style=STYLES.get(event.kind, "")))

    def _end_node(self, event: Event, now: float) -> None:
        line = self._nodes.get(event.node)
        since = line.since if line is not None and line.step == event.step else now - (event.seconds or 0.0)
        self._nodes[event.node] = _NodeLine(event.step, since, ended=now, failed=event.kind == "failed")

    def picture(self, room: int) -> Text:
        """Return the step and the nodes that have most to tell, in `room` lines; nothing while there is no step yet."""
        now = time.monotonic()
        if not self._step and now - self._since < SOON:
            return Text("")
        lines = sorted(self._nodes.items(), key=lambda item: (item[1].ended is None, item[1].elapsed(now)))
        hidden = len(lines) - room if len(lines) > room else 0
        text = Text(no_wrap=True, overflow="ellipsis")
        elapsed = f"{now - self._step_since:.0f} s  (all: {now - self._since:.0f} s)"
        text.append(f"{self._step or 'working'}  {elapsed}\n", "bold")
        if hidden:
            text.append(f"  ... and {hidden} more nodes\n", "dim")
        width = max((len(name) for name, _ in lines), default=0)
        for name, line in lines[hidden:]:
            text.append(*_node_text(f"{name:<{width}}", line, now))
        text.rstrip()
        return text


class LiveLines:
    """Keeps a line for each node at the bottom of a terminal, the slowest last; what stays is printed above."""

    def __init__(self, stream: TextIO) -> None:
        self._standing = Standing()
        self._over = threading.Event()
        self._drawing = threading.Thread(target=self._draw_until_over, daemon=True)
        self._console = Console(file=stream, highlight=False, markup=False)
        self._live = Live(
            console=self._console, get_renderable=self._picture, transient=True,
            auto_refresh=False, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def __enter__(self) -> LiveLines:
        self._live.start()
        self._drawing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._drawing.join()
        with contextlib.suppress(OSError):
            self._draw()
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show what happened, at the next drawing: a script may print thousands of lines in a second."""
        self._standing.add(event)

    def _draw_until_over(self) -> None:
        while not self._over.wait(1 / DRAWINGS_A_SECOND):
            with contextlib.suppress(OSError):  # the terminal is gone, the operation is not
                self._draw()

    def _draw(self) -> None:
        waiting = self._standing.said
        if said := [waiting.popleft() for _ in range(len(waiting))]:
            self._console.print(Text("\n").join(said), soft_wrap=True)
        else:
            self._live.refresh()

    def _picture(self) -> RenderableType:
        return self._standing.picture(max(self._console.size.height - 3, 1))


def _node_text(name: str, line: _NodeLine, now: float) -> tuple[str, Any]:
    mark, style = ("...", "") if line.ended is None else (("failed", "red") if line.failed else ("done", "green"))
    return f"  {name}  {line.step:<14} {line.elapsed(now):6.1f} s  {mark}\n", style
