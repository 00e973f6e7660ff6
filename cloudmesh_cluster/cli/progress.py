"""What happens while it happens: live on a terminal, plain timestamped lines anywhere else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from cloudmesh_cluster.cli.output import printable
from cloudmesh_cluster.events import Emit, Event

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESHES_A_SECOND = 5
SOON = 0.8  # seconds in which an operation without steps needs no picture


@contextmanager
def progress_on(stream: TextIO) -> Iterator[Emit]:
    """Yield a listener that shows events on a stream while the block runs."""
    if not stream.isatty():
        yield PlainLines(stream)
        return
    with LiveLines(stream) as live:
        yield live


class PlainLines:
    """Writes a line with the time of day for each event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write what happened; that nobody reads it any more must not stop the operation."""
        if (text := line_of(event)) is None:
            return
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{_time_of_day(event.at)}  {text}\n")
            self._stream.flush()


def line_of(event: Event) -> str | None:
    """Return an event as a line, None for what is too small to tell: that a node begins a step."""
    if event.kind == "output":
        return printable(f"{event.node} | {event.message}".rstrip())
    if event.kind == "begin":
        return None if event.node else printable(f"{event.step} ... {event.message}".rstrip())
    if event.kind in ("done", "failed"):
        seconds = "" if event.seconds is None else f" ({event.seconds:.1f} s)"
        what = " ".join(filter(None, [event.step, "failed" if event.kind == "failed" else "done"]))
        return printable(": ".join(filter(None, [event.node, what + seconds, event.message])))
    said = f"warning: {event.message}" if event.kind == "warning" else event.message
    return printable(": ".join(filter(None, [event.node, said])))


@dataclass
class _NodeLine:
    """Where a node stands: its step, and since when."""

    step: str
    since: float
    ended: float | None = None
    failed: bool = False

    def elapsed(self, now: float) -> float:
        return (now if self.ended is None else self.ended) - self.since


class LiveLines:
    """Keeps a line for each node at the bottom of a terminal, the slowest last; what stays is printed above."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._step = ""
        self._step_since = self._since = time.monotonic()
        self._nodes: dict[str, _NodeLine] = {}
        self._console: Console = Console(file=stream, highlight=False, markup=False)
        self._live = Live(
            console=self._console, get_renderable=self._picture, transient=True,
            refresh_per_second=REFRESHES_A_SECOND, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def __enter__(self) -> LiveLines:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        now = time.monotonic()
        if event.kind == "begin" and event.node:
            self._nodes[event.node] = _NodeLine(event.step, now)
        elif event.kind == "begin":
            self._step, self._step_since = event.step, now
            self._nodes = {name: line for name, line in self._nodes.items() if line.ended is None}
        elif event.kind in ("done", "failed") and event.node:
            self._end_node(event, now)
        if event.node and event.kind == "done":
            return
        if event.kind != "begin" and (text := line_of(event)) is not None:
            style = {"failed": "bold red", "warning": "yellow", "output": "dim"}.get(event.kind)
            with contextlib.suppress(OSError):  # the terminal is gone, the operation is not
                self._console.print(text, style=style, soft_wrap=True)

    def _end_node(self, event: Event, now: float) -> None:
        line = self._nodes.get(event.node)
        since = line.since if line is not None and line.step == event.step else now - (event.seconds or 0.0)
        self._nodes[event.node] = _NodeLine(event.step, since, ended=now, failed=event.kind == "failed")

    def _picture(self) -> RenderableType:
        from rich.text import Text

        now = time.monotonic()
        if not self._step and now - self._since < SOON:
            return Text("")
        room = max(self._console.size.height - 3, 1)
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


def _node_text(name: str, line: _NodeLine, now: float) -> tuple[str, Any]:
    mark, style = ("...", "") if line.ended is None else (("failed", "red") if line.failed else ("done", "green"))
    return f"  {name}  {line.step:<14} {line.elapsed(now):6.1f} s  {mark}\n", style


def _time_of_day(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
