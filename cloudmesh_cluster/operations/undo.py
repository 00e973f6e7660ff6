"""Taking back what an operation did: exactly its own steps, newest first, and the proof that nothing is left."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from typing import Any

from cloudmesh_cluster.errors import CmError, NotFound
from cloudmesh_cluster.model import Leftover
from cloudmesh_cluster.operations.session import Session

Undo = Callable[[Session, dict[str, Any]], Awaitable[None]]


async def roll_back(session: Session) -> list[Leftover]:
    """Undo the steps of the session's operation, newest first; return what could not be undone."""
    leftovers: list[Leftover] = []
    for step in reversed(session.state.steps(session.journal.operation.id)):
        if step.undo is None or step.state == "undone":
            continue
        try:
            await UNDO[step.undo["kind"]](session, step.undo)
        except (CmError, OSError) as error:
            # One undo that fails must not keep the others from being tried; it is reported with exit 4.
            leftovers.append(Leftover(step.undo["kind"], step.name, str(error)))
        else:
            session.state.end_step(step.id, state="undone")
    return leftovers


async def _remove_cluster(session: Session, undo: dict[str, Any]) -> None:
    """Forget the cluster and remove its folder; the evidence in `logs` stays."""
    forget_cluster(session)


async def _destroy_all(session: Session, undo: dict[str, Any]) -> None:
    """Destroy all that the provider made for the cluster, and make sure that it is gone."""
    await session.provider.destroy_all(session.name)
    prove_nothing_left(session)


async def _destroy_nodes(session: Session, undo: dict[str, Any]) -> None:
    """Destroy the nodes that the operation added, and forget them."""
    await session.provider.destroy(session.name, undo["nodes"])
    session.state.remove_nodes(session.name, undo["nodes"])


async def _wire_again(session: Session, undo: dict[str, Any]) -> None:
    """Tell the nodes that remain who is in the cluster."""
    from cloudmesh_cluster.operations.wiring import wire_all

    await wire_all(session)


async def _forget_script(session: Session, undo: dict[str, Any]) -> None:
    session.state.forget_script(undo["script"])


def prove_nothing_left(session: Session) -> None:
    """Raise what the provider still has of the cluster.

    Raises:
        CmError: something is left; each piece is named by kind and id.

    """
    if left := session.provider.leftovers(session.name):
        raise CmError("still there: " + ", ".join(f"{item.kind} {item.id}" for item in left))


def forget_cluster(session: Session) -> None:
    """Remove the keys and the folder of the cluster, then its row; logs and history stay."""
    folder = session.home.cluster(session.name)
    if folder.exists():
        for path in folder.iterdir():
            if path.name == "logs":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    try:
        session.state.cluster(session.name)
    except NotFound:
        return
    session.state.remove_cluster(session.name)


UNDO: dict[str, Undo] = {
    "cluster": _remove_cluster,
    "all nodes": _destroy_all,
    "nodes": _destroy_nodes,
    "wiring": _wire_again,
    "script": _forget_script,
}
