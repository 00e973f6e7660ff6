"""What happens while it happens: live on a terminal, plain timestamped lines anywhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TextIO

from cloudmesh_cluster.cli.output import printable
from cloudmesh_cluster.events import Emit, Event


@contextmanager
def progress_on(stream: TextIO) -> Iterator[Emit]:
    """Yield a listener that shows events on a stream while the block runs."""
    if not stream.isatty():
        yield PlainLines(stream)
        return
    from cloudmesh_cluster.cli.live import LiveLines  # rich is slow to import

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


def _time_of_day(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
