"""Taking back what an operation did: exactly its own steps, newest first, and the proof that nothing is left."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from cloudmesh_cluster.core.errors import CmError, LeftBehind, NotFound
from cloudmesh_cluster.core.model import Leftover, Node, ScriptExpectation
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps import plugins as plugin_steps
from cloudmesh_cluster.operations.steps.environment_undo import undo_environment
from cloudmesh_cluster.operations.steps.machines import strip
from cloudmesh_cluster.operations.steps.rebuild import rebuild
from cloudmesh_cluster.operations.steps.removal import remove_plugins
from cloudmesh_cluster.operations.steps.scripts import run_quietly
from cloudmesh_cluster.operations.steps.wiring import raise_failed, wire_all
from cloudmesh_cluster.state.records import Step, WrittenScript

Undo = Callable[[Session, dict[str, Any]], Awaitable[None]]
FORGETTING = ("cluster", "membership")
"""Undos after which nobody knows any more what is left of an undo that failed before them."""


async def roll_back(session: Session) -> list[Leftover]:
    """Undo the steps of the session's operation, newest first; return what is left, each piece once.

    One undo that fails does not keep the others from being tried, but nothing of which something is left is forgotten.
    """
    leftovers: dict[Leftover, None] = {}
    for step in reversed(session.state.steps(session.journal.operation.id)):
        if step.undo is None or step.state == "undone" or (leftovers and step.undo["kind"] in FORGETTING):
            continue
        try:
            await _take_back(session, step, step.undo)
        except (CmError, OSError) as error:
            session.journal.warn(f"{step.name} could not be undone: {error}")
            found = error.leftovers if isinstance(error, LeftBehind) else [Leftover("step", step.name)]
            leftovers |= dict.fromkeys(found)
    return list(leftovers)


async def finish_undoing(session: Session) -> None:
    """Take back whole what an earlier process had begun to take back: no operation can go on from half a step.

    Raises:
        CmError: it can't be undone now either.

    """
    for step in reversed(session.state.steps(session.journal.operation.id)):
        if step.undo is not None and step.state == "undoing":
            await _take_back(session, step, step.undo)


async def _take_back(session: Session, step: Step, undo: dict[str, Any]) -> None:
    """Undo one step; the journal says that it is being undone until all of it is."""
    session.state.end_step(step.id, state="undoing")
    await UNDO[undo["kind"]](session, undo)
    session.state.end_step(step.id, state="undone")


async def _remove_cluster(session: Session, undo: dict[str, Any]) -> None:
    """Forget the cluster and remove its folder; the evidence in `logs` stays.

    A cluster of which something is left is not forgotten, so that it can be deleted again.
    """
    if session.name in session.state.cluster_names():
        _prove_nothing_left(session)
    forget_cluster(session)


async def _forget_imported(session: Session, undo: dict[str, Any]) -> None:
    """Forget a cluster that became known here; what it consists of stays where it is."""
    forget_cluster(session)


async def _destroy_all(session: Session, undo: dict[str, Any]) -> None:
    await destroy_all(session)
    if session.name in session.state.cluster_names():
        session.forget_boots(session.cluster.nodes)


async def destroy_all(session: Session, *, force: bool = False) -> None:
    """Destroy all that the provider made for the cluster, and prove that it is gone.

    Args:
        session: the running operation.
        force: go on where plugins can't be taken off machines that stay.

    Raises:
        LeftBehind: something is left; each piece is named by kind and id.

    """
    if session.name not in session.state.cluster_names():
        return
    await strip(session, session.cluster.nodes, force=force)
    try:
        await session.provider.destroy_all(session.name)
    except (CmError, OSError) as error:
        if session.touched or force:
            _prove_nothing_left(session, because=str(error))
        raise
    _prove_nothing_left(session)


async def _destroy_nodes(session: Session, undo: dict[str, Any]) -> None:
    """Destroy the nodes that the operation added, and forget them."""
    nodes = [node for node in session.cluster.nodes if node.name in undo["nodes"]]
    await strip(session, nodes)
    await session.disconnect(nodes)
    try:
        await session.provider.destroy(session.name, undo["nodes"])
    except (CmError, OSError) as error:
        _prove_nothing_left(session, nodes=undo["nodes"], because=str(error))
        raise
    session.state.remove_nodes(session.name, undo["nodes"])


async def _forget_nodes(session: Session, undo: dict[str, Any]) -> None:
    """Tell the nodes and the plugins that remain who is not in the cluster any more."""
    session.state.remove_nodes(session.name, undo["nodes"])
    await wire_all(session)
    async with session.connections() as connections:
        await plugin_steps.tell_who_left(session, connections, undo["nodes"])


async def _remove_plugins(session: Session, undo: dict[str, Any]) -> None:
    await remove_plugins(session, undo["plugins"])


async def _take_back_script(session: Session, undo: dict[str, Any]) -> None:
    """Forget a script that failed; run its undo, or rebuild the nodes where it ran.

    A write that was resumed has a step for each time it ran; the newest that is undone takes the script back.
    """
    script = next((each for each in session.state.scripts(session.name) if each.id == undo["script"]), None)
    if script is None:
        return
    nodes = [node for node in reversed(session.cluster.nodes) if node.name in undo["nodes"]]
    if undo["recovery"] == "rebuild":
        await rebuild(session, sorted(nodes, key=lambda node: node.index))
    elif undo["recovery"] == "undo":
        content = undo["content"].encode("utf-8", "surrogateescape")
        own = ScriptExpectation(timeout=script.expect.timeout)
        script = replace(script, name=f"{script.name}-undo", content=content, expect=own)
        try:
            await _run_undo(session, nodes, script)
        except CmError:
            # What it left is named; no later node is to run the script, and no list to show it as running.
            session.state.forget_script(undo["script"])
            raise
    session.state.forget_script(undo["script"])


async def _run_undo(session: Session, nodes: Sequence[Node], script: WrittenScript) -> None:
    async with session.connections() as connections:
        results = await run_quietly(session, connections, nodes, script)
        raise_failed(f"script {script.name}", results)


def _prove_nothing_left(session: Session, *, nodes: Sequence[str] | None = None, because: str = "") -> None:
    if left := session.provider.leftovers(session.name, nodes=nodes):
        raise LeftBehind(left, message=because)


def forget_cluster(session: Session, *, force: bool = False) -> None:
    """Remove the keys and the folder of the cluster, then its row; logs and history stay.

    With `force`, the row goes although files stay that can't be removed.
    """
    folder = session.home.cluster(session.name)
    if folder.exists():
        for path in folder.iterdir():
            if path.name == "logs":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=force)
            else:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    try:
        session.state.cluster(session.name)
    except NotFound:
        return
    session.state.remove_cluster(session.name)


async def _restore_environment(session: Session, undo: dict[str, Any]) -> None:
    await undo_environment(session, undo)


UNDO: dict[str, Undo] = {
    "cluster": _remove_cluster,
    "imported": _forget_imported,
    "all nodes": _destroy_all,
    "nodes": _destroy_nodes,
    "membership": _forget_nodes,
    "plugins": _remove_plugins,
    "environment": _restore_environment,
    "script": _take_back_script,
}
