"""Rebuilding nodes: a fresh disk under the same name and address, and everything that was written since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.bring_up import bring_up, make_ready
from cloudmesh_cluster.operations.steps.checks import prove
from cloudmesh_cluster.operations.steps.machines import strip


async def rebuild(session: Session, nodes: Sequence[Node]) -> None:
    """Give nodes a fresh disk where they are, and boot them again; the remembered scripts are run again."""
    payloads = await make_ready(session)
    with session.journal.step("strip"):
        await strip(session, nodes)
        await session.disconnect(nodes)
        planned = [replace(node, state="planned") for node in nodes]
        session.state.put_nodes(session.name, planned)
    await bring_up(session, planned, payloads, undo=None, again=True)
    async with session.connections() as connections:
        await prove(session, connections)


async def renew(session: Session, nodes: Sequence[Node]) -> None:
    """Destroy nodes and make others in their place; the remembered scripts are run again."""
    names = [node.name for node in nodes]
    planned = [replace(node, state="planned") for node in nodes]
    payloads = await make_ready(session)
    with session.journal.step("destroy"):
        await strip(session, nodes)
        await session.disconnect(nodes)
        await session.provider.destroy(session.name, names)
        session.forget_boots(nodes)
        session.state.put_nodes(session.name, planned)
    await bring_up(session, planned, payloads, undo=None)
