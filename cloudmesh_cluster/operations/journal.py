"""A running operation: its steps go into the journal before they are done, its events to whoever listens."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cloudmesh_cluster.checks.causes import cause_of
from cloudmesh_cluster.core.events import VERSIONS, Emit, Event, EventKind, now
from cloudmesh_cluster.core.model import CommandResult
from cloudmesh_cluster.core.redaction import redact, without
from cloudmesh_cluster.state.records import Operation
from cloudmesh_cluster.state.store import State

FLUSH_AFTER = 200


@dataclass(frozen=True)
class StepTime:
    """How long a step of an operation took, in seconds."""

    name: str
    seconds: float


@dataclass
class Part:
    """A part of a step whose failure is an answer instead of an exception; `problem` says why it failed."""

    problem: str = ""

    def judge(self, result: CommandResult) -> None:
        """Call the part failed when a command did not exit 0."""
        if not result.ok:
            self.problem = cause_of(result).words


class Journal:
    """The journal of one operation: steps are written before they are done, events in batches."""

    def __init__(self, state: State, operation: Operation, emit: Emit) -> None:
        self.state = state
        self.operation = operation
        self.times: list[StepTime] = []
        self.warnings: list[str] = []
        self.stopped: list[tuple[str, str]] = []
        """What was under way when the operation was cancelled, as (step, node), the innermost first."""
        self._listener = emit
        self._events: list[Event] = []
        self._secrets: set[str] = set()

    def hide(self, secrets: Iterable[str]) -> None:
        """Know some secrets of the cluster from now on: nobody is told any of them."""
        self._secrets.update(secrets)

    @property
    def secrets(self) -> frozenset[str]:
        """The secrets of the cluster that are known by now."""
        return frozenset(self._secrets)

    def emit(self, event: Event) -> None:
        """Tell the listener, and keep the event for the journal; the summary repeats warnings.

        Whoever watches sees what was printed, but for the cluster's own secrets; what is kept has none at all.
        """
        event = replace(event, message=without(event.message, self._secrets))
        if event.kind == "warning":
            self.warnings.append(f"{event.node}: {event.message}" if event.node else event.message)
        self._listener(event)
        self.keep(event)

    def keep(self, event: Event) -> None:
        """Keep an event for the journal without a word to the listener: what a report needs and nobody waits for."""
        self._events.append(replace(event, message=redact(event.message)))
        if len(self._events) >= FLUSH_AFTER:
            self.flush()

    def keep_version(self, what: str, *, node: str = "") -> None:
        """Keep which version of something took part, for the report."""
        self.keep(Event("info", VERSIONS, node, what))

    def flush(self) -> None:
        """Write the events that wait."""
        if self._events:
            self.state.add_events(self.operation.id, self._events)
            self._events = []

    def info(self, message: str, *, node: str = "") -> None:
        """Tell something that is worth a line."""
        self.emit(Event("info", node=node, message=message))

    def warn(self, message: str, *, node: str = "") -> None:
        """Tell something that did not stop the operation but should be known."""
        self.emit(Event("warning", node=node, message=message))

    @contextmanager
    def step(self, name: str, *, undo: dict[str, Any] | None = None) -> Iterator[None]:
        """Frame a step of the whole cluster: written down with its undo before it begins.

        Args:
            name: the step.
            undo: what `undo.py` needs to take the step back; None when there is nothing to undo.

        """
        step = self.state.begin_step(self.operation.id, name, undo)
        began = time.monotonic()
        try:
            with self.progress(name):
                yield
        except BaseException:  # a cancelled step, too, is written down as failed; raised again
            self.state.end_step(step, state="failed")
            raise
        finally:
            self.times.append(StepTime(name, time.monotonic() - began))
            self.flush()
        self.state.end_step(step, state="done")

    @contextmanager
    def progress(self, name: str, *, node: str = "") -> Iterator[Part]:
        """Frame a part of a step, on one node or on all; it is told and kept as events only."""
        began, part = time.monotonic(), Part()
        self.emit(Event("begin", name, node))
        try:
            yield part
        except BaseException as error:  # a cancelled part, too, is told as stopped; raised again
            if isinstance(error, asyncio.CancelledError):
                self.stopped.append((name, node))
            message = "stopped" if isinstance(error, asyncio.CancelledError) else str(error) or type(error).__name__
            self.emit(Event("failed", name, node, message, time.monotonic() - began))
            raise
        kind: EventKind = "failed" if part.problem else "done"
        self.emit(Event(kind, name, node, part.problem, time.monotonic() - began))


def new_operation(cluster: str, kind: str, request: str) -> Operation:
    """Return a fresh operation; its id sorts by time and says its kind."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    identity = f"{stamp}-{kind}-{secrets.token_hex(2)}"
    return Operation(identity, cluster, kind, "running", os.getpid(), now(), None, json.loads(request), "")
