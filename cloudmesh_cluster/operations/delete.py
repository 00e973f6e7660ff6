"""`cm cluster delete`: everything of a cluster goes, and that nothing is left is proven."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cloudmesh_cluster.errors import CmError, LeftBehind, NotFound
from cloudmesh_cluster.events import Emit
from cloudmesh_cluster.home import Home
from cloudmesh_cluster.operations.session import Session, session
from cloudmesh_cluster.operations.undo import forget_cluster
from cloudmesh_cluster.state import State


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
    raise NotFound("cluster", name, state.cluster_names())


async def _delete_one(home: Home, name: str, emit: Emit, *, force: bool) -> None:
    try:
        async with session(home, name, "delete", DeleteRequest(force), emit=emit) as current:
            await carry_out(current, force=force)
    except asyncio.CancelledError:
        raise
    except CmError as error:
        cause = getattr(error, "cause", error)
        if isinstance(cause, LeftBehind):
            raise cause from error
        raise


async def carry_out(current: Session, *, force: bool = False) -> None:
    """Remove the cluster of the session; also from the middle.

    Raises:
        LeftBehind: something is left; with `force` the cluster is forgotten first.

    """
    state = current.state
    if current.name not in state.cluster_names():
        return forget_cluster(current)
    state.set_cluster_state(current.name, "deleting")
    with current.journal.step("destroy"):
        await current.provider.destroy_all(current.name)
        leftovers = current.provider.leftovers(current.name)
    if leftovers and not force:
        raise LeftBehind(leftovers, hint=f"cm cluster delete {current.name}")
    # What the deleted operations left unfinished needs no resume any more.
    for operation in state.operations(current.name):
        if operation.state == "running" and operation.id != current.journal.operation.id:
            state.end_operation(operation.id, state="deleted")
    with current.journal.step("forget"):
        forget_cluster(current)
    if leftovers:
        raise LeftBehind(leftovers, message="forgotten by force")


