"""Errors in words: what, where, why, and the next command to type."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cloudmesh_cluster.checks.causes import unsaid
from cloudmesh_cluster.core.errors import (
    ChecksFailed,
    CmError,
    LeftBehind,
    OperationFailed,
    RemoteFailed,
)
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult, CommandResult, Leftover
from cloudmesh_cluster.core.targets import fold
from cloudmesh_cluster.views.formats import printable

if TYPE_CHECKING:
    from cloudmesh_cluster.state.store import State

LINES_SHOWN = 10
NODES_SHOWN = 5


def explain(error: BaseException, *, debug: bool) -> str:
    """Return what to print on standard error about an error."""
    lines = [f"cm: {_message(error)}", *(f"  {line}" for line in _details(error))]
    text = printable("\n".join(lines)) + "\n"
    return "".join(traceback.format_exception(error)) + text if debug else text


def exit_code(error: BaseException) -> int:
    """Return the exit code of the contract for an error."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, CmError) else 1


def _message(error: BaseException) -> str:
    cause = error.cause if isinstance(error, OperationFailed) else error
    if isinstance(cause, ChecksFailed):
        return cause.headline  # each that failed has a line of its own
    if isinstance(error, CmError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _details(error: BaseException) -> Iterator[str]:
    cause = error.cause if isinstance(error, OperationFailed) else error
    if isinstance(cause, RemoteFailed):
        yield from _answers([result for result in cause.results if not result.ok], str(cause))
    if isinstance(cause, ChecksFailed):
        yield from (_verdict(result) for result in cause.results if not result.ok)
    if isinstance(error, LeftBehind):
        for leftover in error.leftovers:
            remedy = f" (remove it: {leftover.remedy})" if leftover.remedy else ""
            yield f"left: {leftover.kind} {leftover.id}{remedy}"
    if isinstance(error, OperationFailed):
        yield f"outcome: {error.outcome}"
        if error.logs and error.logs not in error.hint:
            yield f"logs: {error.logs}"
    if not isinstance(error, CmError | OSError | KeyboardInterrupt):
        yield "this is a bug in cm; --debug shows the traceback"
    if hint := getattr(error, "hint", ""):
        yield from hint.split("\n")


def _answers(failed: Sequence[CommandResult], message: str) -> Iterator[str]:
    """Yield what failed nodes printed and the message has not said, equal answers once."""
    answers: dict[tuple[str, ...], list[CommandResult]] = {}
    for result in failed:
        if lines := tuple(unsaid(result, message)[-LINES_SHOWN:]):
            answers.setdefault(lines, []).append(result)
    for lines, same in list(answers.items())[:NODES_SHOWN]:
        status = f"exit {same[0].exit}" if same[0].exit >= 0 else "no answer"
        yield f"{fold(result.node for result in same)}: {status}"
        yield from (f"  {line}" for line in lines)
    if len(answers) > NODES_SHOWN:
        yield f"... and {len(answers) - NODES_SHOWN} other answers"


def _verdict(result: CheckResult) -> str:
    return f"{result.check} on {result.node}: expected {result.expected}, found {result.actual}"


def what_is_left(home: Home, cluster: str) -> str:
    """Return what a cluster's unfinished operation leaves, a line each, and how to go on."""
    try:
        return _left(home, cluster)
    except CmError as error:  # the journal is damaged: this is told while another error ends the program
        return "".join(f"  {line}\n" for line in (error.message, error.hint))


def _left(home: Home, cluster: str) -> str:
    from cloudmesh_cluster.state.store import State

    with State(home) as state:
        operation = state.unfinished(cluster)
        if operation is None:
            return ""
        left = list(_pieces(home, state, cluster)) if cluster in state.cluster_names() else []
    lines = [f"{operation.kind} {cluster} was under way", *(f"left: {piece.kind} {piece.id}" for piece in left)]
    lines.append(f"cm cluster resume {cluster} finishes it, cm cluster delete {cluster} removes it")
    return "".join(f"  {line}\n" for line in lines)


def _pieces(home: Home, state: State, cluster: str) -> Iterator[Leftover]:
    from cloudmesh_cluster.providers import provider_of

    yield Leftover("folder", str(home.cluster(cluster)))
    record = state.record(cluster)
    try:
        yield from provider_of(home, record.provider_type, record.provider_settings).leftovers(cluster)
    except (CmError, OSError) as error:
        yield Leftover("provider", f"{record.provider_type}, which does not say what it has: {error}")
