"""`cm cluster delete`: everything of a cluster goes, and that nothing is left is proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloudmesh_cluster.core.errors import LeftBehind, NotFound, ProviderError, UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.preconditions import refuse_obstacles
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.operations.transaction.undo import destroy_all, forget_cluster
from cloudmesh_cluster.state.records import RESUMABLE
from cloudmesh_cluster.state.store import State


@dataclass(frozen=True)
class DeleteRequest:
    """What to delete: with `force`, the cluster is forgotten even when something of it is left."""

    force: bool = False


async def delete(home: Home, names: Sequence[str], emit: Emit, *, force: bool = False) -> None:
    """Delete clusters, however half-made they are; what was deleted before is no error.

    Raises:
        NotFound: there never was a cluster of that name; nothing was deleted.
        LeftBehind: something of a cluster could not be removed.

    """
    with State(home) as state:
        existing = [name for name in dict.fromkeys(names) if _exists(state, name)]
    for name in existing:
        await _delete_one(home, name, emit, force=force)


def _exists(state: State, name: str) -> bool:
    """Return whether there is something to delete; raise when there never was."""
    if name in state.cluster_names():
        return True
    if state.operations(name):
        return False
    names = state.cluster_names()
    raise NotFound("cluster", name, names, hint="" if names else "cm cluster list, cm cluster history")


async def _delete_one(home: Home, name: str, emit: Emit, *, force: bool) -> None:
    def refuse(state: State) -> None:
        if name in state.cluster_names() and not force:
            refuse_obstacles(home, state, name, "delete", goes=[node.name for node in state.cluster(name).nodes])

    async with session(
        home, name, "delete", DeleteRequest(force), emit=emit, refuse=refuse, recognizes=not force
    ) as current:
        await carry_out(current, force=force)


async def carry_out(current: Session, *, force: bool = False) -> None:
    """Remove the cluster of the session; also from the middle.

    Raises:
        LeftBehind: something is left; with `force` the cluster is forgotten first.

    """
    state = current.state
    if current.name in state.cluster_names():
        state.set_cluster_state(current.name, "deleting")
        with current.journal.step("destroy"):
            left = await _destroy(current, force=force)
        # What the deleted operations left unfinished needs no resume any more.
        for operation in state.operations(current.name):
            if operation.state in RESUMABLE and operation.id != current.journal.operation.id:
                state.end_operation(operation.id, state="deleted", error=operation.error)
        with current.journal.step("forget"):
            forget_cluster(current, force=force)
        if left is not None:
            raise LeftBehind(left.leftovers, message="forgotten by force") from left


async def _destroy(current: Session, *, force: bool) -> LeftBehind | None:
    """Destroy the nodes; what is left raises, or is returned with `force`."""
    try:
        await destroy_all(current, force=force)
    except LeftBehind as left:
        if force:
            return left
        message = str(left.__cause__ or left.__context__ or "")
        raise LeftBehind(left.leftovers, message=message, hint=_ways(current.name)) from left
    except (UsageError, ProviderError) as error:
        error.hint = "; ".join(each for each in (error.hint, _ways(current.name)) if each)
        raise
    return None


def _ways(name: str) -> str:
    return f"when the cause is gone: cm cluster delete {name}; --force forgets the cluster all the same"
