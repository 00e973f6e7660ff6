"""Take back a change of a conda environment."""

from __future__ import annotations

from typing import Any

from cloudmesh_cluster.conda.environments import CondaEnvironment, Environments
from cloudmesh_cluster.core.codec import decode
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps import environments as steps


async def undo_environment(current: Session, undo: dict[str, Any]) -> None:
    """Let every node use again what it used before, and drop what was to take its place."""
    store, name = Environments(current.home, current.name), str(undo["environment"])
    before = decode(CondaEnvironment, undo["before"]) if undo["before"] else None
    running = current.running(current.cluster.nodes)
    async with current.connections() as connections:
        if before is not None:
            store.write(before)
            nodes = [node for node in steps.nodes_of(before, current.cluster.nodes) if node in running]
            await steps.place(current, connections, before, nodes)
            return
        gone = store.find(name) or CondaEnvironment(
            name, (), (), "all", steps.settings_of(current).install_prefix, "", (), (), "none"
        )
        await steps.remove(current, connections, gone, running)
        store.remove(name)
