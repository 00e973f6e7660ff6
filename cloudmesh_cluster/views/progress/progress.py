"""What happens while it happens: live on a terminal, plain timestamped lines anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from cloudmesh_cluster.core.events import Emit, Event, silent
from cloudmesh_cluster.views.formats import printable

if TYPE_CHECKING:
    from types import TracebackType

LAST_LINES = 3


@contextmanager
def progress_on(stream: TextIO) -> Iterator[Emit]:
    """Yield a listener that shows events on a stream while the block runs."""
    if not stream.isatty():
        yield PlainLines(stream)
        return
    from cloudmesh_cluster.views.progress.live import LiveLines  # rich is slow to import

    with LiveLines(stream) as live:
        yield live


class Watched:
    """The progress of an operation that is called from Python: shown as fits the place, given away, or silent.

    `emit` is its listener; `draw` is called now and then by whoever waits for the operation.

    Args:
        title: what to call the operation.
        wanted: None shows it in notebooks and on terminals, True everywhere, False nowhere; a function gets the events.

    """

    def __init__(self, title: str, wanted: bool | Emit | None) -> None:
        self.emit: Emit = silent
        self.draw: Callable[[], None] = lambda: None
        self._title, self._wanted = title, wanted
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Watched:
        if callable(self._wanted):
            self.emit = self._wanted
        elif self._wanted is not False and in_notebook():
            from cloudmesh_cluster.views.progress.notebook import NotebookLines

            lines = self._open.enter_context(NotebookLines(self._title))
            self.emit, self.draw = lines, lines.draw
        elif self._wanted or (self._wanted is None and sys.stderr.isatty()):
            self.emit = self._open.enter_context(progress_on(sys.stderr))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    core = sys.modules.get("IPython.core.getipython")  # who is in a notebook has imported it
    shell = core.get_ipython() if core is not None else None
    return shell is not None and hasattr(shell, "kernel")


class PlainLines:
    """Writes a line with the time of day for each event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told = Told()

    def __call__(self, event: Event) -> None:
        """Write what happened; that nobody reads it any more must not stop the operation."""
        if (text := self._told.line_of(event)) is None:
            return
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{_time_of_day(event.at)}  {text}\n")
            self._stream.flush()


class Told:
    """What nodes have printed last, so that the cause of a failure is told once."""

    def __init__(self) -> None:
        self._last: dict[str, deque[str]] = {}

    def line_of(self, event: Event) -> str | None:
        """Return an event as a line, without a cause that the node's own output has just said."""
        last = self._last.setdefault(event.node, deque(maxlen=LAST_LINES))
        if event.kind == "output":
            last.append(event.message.strip())
        elif event.kind == "failed" and any(line and line in event.message for line in last):
            event = replace(event, message="")
        return line_of(event)


def line_of(event: Event) -> str | None:
    """Return an event as a line, None for what is too small to tell: that a node begins a step."""
    if event.kind == "output":
        return printable(f"{event.node} | {event.message}".rstrip())
    if event.kind == "begin":
        return None if event.node else printable(f"{event.step} ... {event.message}".rstrip())
    if event.kind in ("done", "failed"):
        seconds = "" if event.seconds is None else f" ({event.seconds:.1f} s)"
        what = " ".join(filter(None, [event.step, "failed" if event.kind == "failed" else "done"]))
        # What failed a step of the whole cluster is what failed on its nodes, and the error at the end.
        why = event.message if event.node or event.kind == "done" else ""
        return printable(": ".join(filter(None, [event.node, what + seconds, why])))
    said = f"warning: {event.message}" if event.kind == "warning" else event.message
    return printable(": ".join(filter(None, [event.node, said])))


def _time_of_day(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
