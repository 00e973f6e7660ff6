"""An operation on one cluster, from taking the lock to the proof that nothing is left when it failed."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cloudmesh_cluster.core.codec import encode
from cloudmesh_cluster.core.errors import ChecksFailed, CmError, Interrupted, LeftBehind, OperationFailed, UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Leftover
from cloudmesh_cluster.core.redaction import known_secrets, redact
from cloudmesh_cluster.core.tasks import innermost, to_its_end
from cloudmesh_cluster.core.version import __version__
from cloudmesh_cluster.operations.journal import Journal, new_operation
from cloudmesh_cluster.operations.session import OnFailure, Session
from cloudmesh_cluster.operations.steps.checks import prove
from cloudmesh_cluster.operations.transaction.evidence import collect, out_of_time
from cloudmesh_cluster.operations.transaction.undo import roll_back
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.providers.base import Provider
from cloudmesh_cluster.state.locks import cluster_lock
from cloudmesh_cluster.state.records import LOOKING, RESUMABLE, Operation
from cloudmesh_cluster.state.store import State

LEAVING_READY = (*LOOKING, "write")
"""Operations after whose failure the cluster is as ready as before: they change no node's place in it."""

UNTOUCHED = "nothing changed"
"""How an operation ended that failed before it changed anything: there is nothing to resume."""


@asynccontextmanager
async def session(
    home: Home,
    cluster: str,
    kind: str,
    request: object,
    *,
    emit: Emit,
    on_failure: OnFailure = "keep",
    timeout: float | None = None,
    outcome: str = "rolled back",
    refuse: Callable[[State], None] | None = None,
    resumed: Operation | None = None,
    recognizes: bool = True,
) -> AsyncIterator[Session]:
    """Run an operation: lock, journal, and on failure evidence, undo and proof.

    Args:
        home: whose cluster.
        cluster: its name.
        kind: the operation's word ("create", "scale"...).
        request: a dataclass that says what was asked, enough to resume the operation.
        emit: who listens to the events.
        on_failure: "rollback" undoes exactly this operation's steps.
        timeout: seconds after which the operation fails; None for no limit.
        outcome: the word for what an undo of this operation means to the user.
        refuse: raises a UsageError when the operation makes no sense, before anything is written.
        resumed: the operation to go on with, instead of a new one.
        recognizes: whether a cluster that is elsewhere than where its provider leads to is refused.

    Raises:
        ClusterBusy: another operation works on the cluster.
        OperationFailed: it failed, and what was to be undone is undone.
        LeftBehind: it failed, and something could not be undone.
        Interrupted: the user stopped it.

    """
    with cluster_lock(home, cluster, operation=kind), State(home) as state:
        provider = _recognized(home, state, cluster) if recognizes and cluster in state.cluster_names() else None
        if refuse is not None:
            refuse(state)
        operation = resumed or new_operation(cluster, kind, encode(request))
        if resumed is None:
            state.begin_operation(operation)
        else:
            state.take_over(operation.id, pid=os.getpid())
        current = Session(home, Journal(state, operation, emit), provider)
        current.journal.hide(known_secrets(home, cluster))
        current.journal.keep_version(f"cm {__version__}, Python {platform.python_version()}")
        try:
            async with asyncio.timeout(timeout) as clock:
                yield current
        except BaseException as error:  # whatever ended it, Ctrl-C too, is undone before it is raised as ours
            late = timeout if clock.expired() else None
            if resumed is None and kind not in LEAVING_READY and not current.touched:
                raise _leave_as_it_was(current, innermost(error)) from error
            raise await to_its_end(_give_up(current, innermost(error), on_failure, outcome, late=late)) from error
        finally:
            await to_its_end(current.disconnect())
        _forget_bootstrap_key(current)
        current.journal.flush()
        state.end_operation(operation.id, state=current.end_state, error=current.end_error)


def _recognized(home: Home, state: State, cluster: str) -> Provider:
    """Return the provider of a cluster, if it leads to where the cluster is."""
    record = state.record(cluster)
    provider = provider_of(home, record.provider_type, record.provider_settings)
    provider.recognize(cluster)
    return provider


def _leave_as_it_was(current: Session, error: BaseException) -> CmError:
    """Write down that an operation has changed nothing, and return what to raise."""
    current.journal.flush()
    if current.state_before is not None:
        current.state.set_cluster_state(current.name, current.state_before)
    current.state.end_operation(current.journal.operation.id, state=UNTOUCHED, error=_text(error))
    return _what_became(current, error, UNTOUCHED)


async def _give_up(
    current: Session, error: BaseException, on_failure: OnFailure, outcome: str, *, late: float | None
) -> CmError:
    """Collect evidence, undo what is to be undone, write down what became of it and return what to raise."""
    interrupted = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
    await collect(current)
    if late is not None:
        error = out_of_time(current, late)
    if on_failure == "keep":
        _end(current, "interrupted" if interrupted else "failed", error)
        return _what_became(current, error, "kept")
    await current.disconnect()  # what is undone must find no connection to a node that is gone
    if leftovers := await _roll_back(current):
        _end(current, "failed", error)
        hint = f"when the cause is gone: cm cluster resume {current.name}, or cm cluster delete {current.name}"
        return LeftBehind(leftovers, message=f"{_text(error)}; the rollback failed", hint=hint)
    await _prove_again(current, error)
    _end(current, outcome, error)
    return _what_became(current, error, outcome)


async def _prove_again(current: Session, error: BaseException) -> None:
    """After a change that was undone because checks failed, ask whether they fail without it as well."""
    if isinstance(error, ChecksFailed) and current.name in current.state.cluster_names():
        async with current.connections() as connections:
            await prove(current, connections, keep=False)


async def _roll_back(current: Session) -> list[Leftover]:
    with current.journal.progress("roll back"):
        leftovers = await roll_back(current)
    _forget_bootstrap_key(current)
    return leftovers


def _forget_bootstrap_key(current: Session) -> None:
    """Drop the key that this operation's nodes booted with; only who may still resume it needs it."""
    current.home.bootstrap_key(current.name, current.journal.operation.id).unlink(missing_ok=True)


def _end(current: Session, state: str, error: BaseException) -> None:
    """Write down how the operation ended: a cluster that it left half done is not ready, any other is as before."""
    operation = current.journal.operation
    current.journal.flush()
    if operation.kind not in LEAVING_READY:
        if state in RESUMABLE:
            current.state.set_cluster_state(current.name, state)
        else:
            current.state.set_whole(current.name)
    current.state.end_operation(operation.id, state=state, error=redact(_text(error), current.journal.secrets))


def _what_became(current: Session, error: BaseException, outcome: str) -> CmError:
    operation = current.journal.operation
    logs = "" if outcome == UNTOUCHED else current.logs
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        hint = f"evidence: {logs}" if logs else ""
        return Interrupted(f"{operation.kind} interrupted, {outcome}", hint=hint)
    if isinstance(error, UsageError | LeftBehind):
        return error
    return OperationFailed(operation.id, error, logs=logs, outcome=outcome)


def _text(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, TimeoutError):
        return str(error) or "out of time"
    return str(error) or type(error).__name__
