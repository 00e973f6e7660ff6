"""What an operation tells the world while it runs: plain data, for whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

EventKind = Literal["plan", "begin", "done", "failed", "output", "warning", "info", "cloud"]
VERSIONS = "versions"
"""The step of events that say which version of something took part in an operation."""


def now() -> str:
    """Return the time in UTC as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Args:
        kind: "begin"/"done"/"failed" frame a step; "output" is a line a script printed; "plan", "info"
            and "warning" are single lines for the user; "cloud" is what the cloud says of itself.
        step: the step ("provision", "reach", "wire", "script hadoop", "verify"...); may be empty.
        node: the node's name, empty for the cluster as a whole.
        message: what there is to say.
        at: ISO 8601, UTC.
        seconds: how long the step took, for "done" and "failed".

    """

    kind: EventKind
    step: str = ""
    node: str = ""
    message: str = ""
    seconds: float | None = None
    at: str = field(default_factory=now)


Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""
