"""`cm cluster report`: what an operation did, when, where and why, from the journal and its logs alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.events import VERSIONS, Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult
from cloudmesh_cluster.core.redaction import known_secrets, redact
from cloudmesh_cluster.operations.queries.timeline import Timeline, timeline
from cloudmesh_cluster.state.locks import lock_holder
from cloudmesh_cluster.state.records import LOOKING, Operation
from cloudmesh_cluster.state.store import State

LINES_SHOWN = 40
BYTES_READ = 64 * 1024


@dataclass(frozen=True)
class Excerpt:
    """The end of a log file: its name, its size in bytes, its last lines, whether there are more before, and failed."""

    name: str
    size: int
    lines: tuple[str, ...]
    cut: bool
    failed: bool = False


@dataclass(frozen=True)
class Report:
    """Everything about an operation that is worth a look.

    Args:
        operation: its row in the history; `state` is "interrupted" where its process was killed.
        provider: where the nodes come from, as far as it is still known.
        profile: the name of the profile, likewise.
        timeline: what ran when on which node.
        checks: what was checked, good and bad.
        versions: what took part, by node ("" for the client and the cluster).
        warnings: what did not stop it but should be known.
        logs: the ends of its log files.

    """

    operation: Operation
    provider: str
    profile: str
    timeline: Timeline
    checks: tuple[CheckResult, ...]
    versions: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    logs: tuple[Excerpt, ...]


def report(home: Home, name: str, operation: str | None = None) -> Report:
    """Return the report of an operation on a cluster, which may be deleted by now.

    Args:
        home: whose cluster.
        name: the cluster's.
        operation: its id; None for the newest that changed something.

    Raises:
        NotFound: there never was such a cluster or operation.

    """
    with State(home) as state:
        known = known_secrets(home, name)
        chosen = _as_it_is(home, _chosen(state, name, operation))
        chosen = replace(chosen, error=redact(chosen.error, known))
        events = [_redacted(event, known) for owner, event in state.events(name) if owner == chosen.id]
        provider, profile = _origin(state, chosen)
        order = _node_order(state, name)
        checks = tuple(
            replace(check, expected=redact(check.expected, known), actual=redact(check.actual, known))
            for check in state.checks(chosen.id)
        )
    line = timeline(events, began_at=chosen.began_at, ended_at=chosen.ended_at, nodes=order)
    return Report(
        operation=chosen,
        provider=provider,
        profile=profile,
        timeline=line,
        checks=checks,
        versions=tuple((event.node, event.message) for event in events if event.step == VERSIONS and event.message),
        warnings=_warnings(events),
        logs=_failed_first(_excerpts(home.logs(name, chosen.id), known), line),
    )


def _redacted(event: Event, known: Sequence[str]) -> Event:
    return replace(event, step=redact(event.step, known), message=redact(event.message, known))


def last_checks(home: Home, name: str) -> tuple[CheckResult, ...]:
    """Return what the newest operation of a cluster that checked anything found."""
    with State(home) as state:
        state.cluster(name)
        for operation in reversed(state.operations(name)):
            if found := state.checks(operation.id):
                return tuple(found)
    return ()


def _chosen(state: State, name: str, operation: str | None) -> Operation:
    operations = state.operations(name)
    if not operations:
        state.cluster(name)
    known = {each.id: each for each in operations}
    if operation is None:
        changes = [each for each in operations if each.kind not in LOOKING]
        return (changes or operations)[-1]
    if operation not in known:
        raise NotFound("operation", operation, list(known), hint=f"see: cm cluster history {name}")
    return known[operation]


def _as_it_is(home: Home, operation: Operation) -> Operation:
    died = operation.state == "running" and lock_holder(home, operation.cluster) is None
    return replace(operation, state="interrupted") if died else operation


def _origin(state: State, operation: Operation) -> tuple[str, str]:
    """Return provider and profile: of the plan where there is one, else of the cluster if it is still there."""
    profile = operation.request.get("profile")
    if isinstance(profile, dict):
        return str(operation.request.get("provider", "")), str(profile.get("name", ""))
    if operation.cluster in state.cluster_names():
        cluster = state.cluster(operation.cluster)
        return cluster.provider, cluster.profile
    return "", ""


def _node_order(state: State, name: str) -> Sequence[str]:
    return [node.name for node in state.cluster(name).nodes] if name in state.cluster_names() else [f"{name}-master"]


def _warnings(events: Sequence[Event]) -> tuple[str, ...]:
    said = (
        f"{event.node}: {event.message}" if event.node else event.message
        for event in events
        if event.kind == "warning" and event.seconds is None  # with seconds it is a check, which has its own place
    )
    return tuple(dict.fromkeys(said))


def _excerpts(folder: Path, known: Sequence[str]) -> tuple[Excerpt, ...]:
    return tuple(_excerpt(path, known) for path in sorted(folder.glob("*.log")) if path.is_file())


def _failed_first(logs: Sequence[Excerpt], line: Timeline) -> tuple[Excerpt, ...]:
    """Mark the logs of what failed, and put them first."""
    failed = {
        f"{bar.node}.{bar.step.removeprefix('script ').replace(' ', '-')}" for bar in line.bars if bar.state == "failed"
    }
    marked = [replace(log, failed=log.name in failed) for log in logs]
    return tuple(sorted(marked, key=lambda log: not log.failed))


def _excerpt(path: Path, known: Sequence[str]) -> Excerpt:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - BYTES_READ, 0), os.SEEK_SET)
        lines = redact(file.read().decode(errors="replace"), known).splitlines()
    cut = size > BYTES_READ or len(lines) > LINES_SHOWN
    return Excerpt(redact(path.name.removesuffix(".log"), known), size, tuple(lines[-LINES_SHOWN:]), cut)
