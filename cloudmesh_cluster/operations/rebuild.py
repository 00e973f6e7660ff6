"""Rebuilding nodes: a fresh disk under the same name and address, and everything that was written since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cloudmesh_cluster.model import Node
from cloudmesh_cluster.operations.bring_up import bring_up, make_ready
from cloudmesh_cluster.operations.machines import strip
from cloudmesh_cluster.operations.session import Session


async def rebuild(session: Session, nodes: Sequence[Node]) -> None:
    """Destroy nodes and boot them again from their image; the remembered scripts are run again."""
    names = [node.name for node in nodes]
    planned = [replace(node, state="planned") for node in nodes]
    payloads = await make_ready(session)
    with session.journal.step("destroy"):
        await strip(session, nodes)
        await session.disconnect(nodes)
        await session.provider.destroy(session.name, names)
        session.state.put_nodes(session.name, planned)
    await bring_up(session, planned, payloads, undo=None)
