"""An operation on one cluster, from taking the lock to the proof that nothing is left when it failed."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cloudmesh_cluster import __version__
from cloudmesh_cluster.core.codec import encode
from cloudmesh_cluster.core.errors import ChecksFailed, CmError, Interrupted, LeftBehind, OperationFailed, UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, Leftover, Node
from cloudmesh_cluster.core.redaction import known_secrets, redact
from cloudmesh_cluster.nodes.keys import read_private
from cloudmesh_cluster.operations.transaction.journal import Journal, new_operation
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.providers.base import Provider
from cloudmesh_cluster.ssh.connections import Connections
from cloudmesh_cluster.state.locks import cluster_lock
from cloudmesh_cluster.state.records import LOOKING, RESUMABLE, ClusterRecord, Operation
from cloudmesh_cluster.state.store import State

if TYPE_CHECKING:
    from cloudmesh_cluster.plugins.model import ChosenPlugin

T = TypeVar("T")
LEAVING_READY = (*LOOKING, "write")
"""Operations after whose failure the cluster is as ready as before: they change no node's place in it."""

UNTOUCHED = "nothing changed"
"""How an operation ended that failed before it changed anything: there is nothing to resume."""

OnFailure = Literal["rollback", "keep"]


class Session:
    """What every step of an operation needs: the home, the journal, the cluster and its provider."""

    def __init__(self, home: Home, journal: Journal, provider: Provider | None = None) -> None:
        self.home = home
        self.journal = journal
        self.state = journal.state
        self.name = journal.operation.cluster
        self.state_before = _state_of(journal.state, self.name)
        self._provider = provider
        self._asked_provider = False
        self._connections: Connections | None = None
        self.end_state, self.end_error = "done", ""
        """How the operation ends in the history, if nothing fails."""

    @property
    def cluster(self) -> Cluster:
        """The cluster as the journal knows it now."""
        return self.state.cluster(self.name)

    @property
    def record(self) -> ClusterRecord:
        """What is kept of the cluster beyond its row."""
        return self.state.record(self.name)

    @property
    def user(self) -> str:
        """The login user of the nodes."""
        return self.record.profile.user

    @property
    def provider(self) -> Provider:
        """Where the cluster's nodes come from."""
        self._asked_provider = True
        if self._provider is None:
            record = self.record
            self._provider = provider_of(self.home, record.provider_type, record.provider_settings)
        return self._provider

    @property
    def touched(self) -> bool:
        """Whether this operation may have changed anything: here, through the provider, or on a node."""
        steps = self.state.steps(self.journal.operation.id)
        if any(step.undo is not None or step.state == "done" for step in steps):
            return True
        if self._asked_provider and self.provider.touched:
            return True
        return self._connections is not None and self._connections.used

    @property
    def machines_stay(self) -> bool:
        """Whether the nodes were there before the cluster and are given back: none boots, none is destroyed."""
        return self.record.provider_type == "baremetal"

    @property
    def trusts_on_first_use(self) -> bool:
        """Whether the user has said that a node may be believed for whose host key nobody vouches."""
        return bool(self.journal.operation.request.get("trust_on_first_use"))

    @property
    def logs(self) -> str:
        """The folder of this operation's evidence."""
        return str(self.home.logs(self.name, self.journal.operation.id))

    @property
    def plugins(self) -> tuple[ChosenPlugin, ...]:
        """The cluster's plugins with their settings, those that others require first."""
        from cloudmesh_cluster.plugins.resolve import resolve

        return resolve(self.record.profile.plugins, self.home)

    def set_node_states(self, nodes: Sequence[Node], state: str) -> None:
        """Write down a new state of nodes."""
        self.state.put_nodes(self.name, [replace(node, state=state) for node in nodes])

    def running(self, nodes: Sequence[Node]) -> list[Node]:
        """Return those of some nodes that the provider says run."""
        now = self.provider.states(self.name)
        return [node for node in nodes if now.get(node.name) == "running" or self._is_logged_in(node)]

    def _is_logged_in(self, node: Node) -> bool:
        """Return whether a machine that stays is connected: a busy one may not greet another connection in time."""
        return self.machines_stay and self._connections is not None and self._connections.is_open(node)

    def forget_boots(self, nodes: Sequence[Node]) -> None:
        """Write down that nodes were destroyed and are still to be booted: their keys are not believed again.

        Machines that stay keep their keys.
        """
        if not self.machines_stay:
            self.state.forget_boots(self.name, [node.name for node in nodes])

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[Connections]:
        """Yield the SSH connections of this operation: one a node, made when first needed, kept for all its steps."""
        if self._connections is None:
            self._connections = connections_of(self.home, self.state, self.name, self.provider)
        yield self._connections

    async def disconnect(self, nodes: Sequence[Node] | None = None) -> None:
        """Close the SSH connections to nodes that are about to go, or all of them."""
        if self._connections is not None and nodes is not None:
            for node in nodes:
                await self._connections.close_node(node)
        elif self._connections is not None:
            await self._connections.close()


def _state_of(state: State, cluster: str) -> str | None:
    return state.cluster(cluster).state if cluster in state.cluster_names() else None


def connections_of(home: Home, state: State, cluster: str, provider: Provider) -> Connections:
    """Return SSH connections to the nodes of a cluster, with its login key and the pinned host keys."""
    return Connections(
        provider.dial,
        user=state.record(cluster).profile.user,
        login_key=read_private(home.login_key(cluster)),
        host_keys=state.host_keys(cluster),
        via=lambda node: state.cluster(cluster).master if provider.via(node) else None,
    )


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
            raise await _to_its_end(_give_up(current, innermost(error), on_failure, outcome, late=late)) from error
        finally:
            await _to_its_end(current.disconnect())
        _forget_bootstrap_key(current)
        current.journal.flush()
        state.end_operation(operation.id, state=current.end_state, error=current.end_error)


def _recognized(home: Home, state: State, cluster: str) -> Provider:
    """Return the provider of a cluster, if it leads to where the cluster is."""
    record = state.record(cluster)
    provider = provider_of(home, record.provider_type, record.provider_settings)
    provider.recognize(cluster)
    return provider


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for work that no cancel stops: undoing is what a cancel asks for."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


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
    from cloudmesh_cluster.operations.transaction.evidence import collect, out_of_time

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
    from cloudmesh_cluster.operations.verify import prove

    if isinstance(error, ChecksFailed) and current.name in current.state.cluster_names():
        async with current.connections() as connections:
            await prove(current, connections, keep=False)


async def _roll_back(current: Session) -> list[Leftover]:
    from cloudmesh_cluster.operations.transaction.undo import roll_back

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


def innermost(error: BaseException) -> BaseException:
    """Return the one error that task groups wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def together(tasks: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run coroutines at once; the first that fails cancels the others.

    Raises:
        CmError: what failed first.

    """
    async with task_group() as group:
        for task in tasks:
            group.create_task(task)


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Yield a task group that raises what failed first, as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failed:
        raise innermost(failed) from None
