"""Volumes of nodes, which become folders that scripts and plugins can use."""

from __future__ import annotations

from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.nodes.scripts import volumes_command
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.wiring import raise_failed
from cloudmesh_cluster.ssh.connections import Connections

TIMEOUT = 600.0
"""Seconds for all volumes of a node to get file systems."""


async def mount_volumes(session: Session, connections: Connections, node: Node) -> None:
    """Mount the volumes of a node where its profile says; one with nothing on it gets a file system.

    Raises:
        CmError: a volume is not there, or can't be mounted.

    """
    profile = session.record.profile
    spec = profile.master if node.role == "master" else profile.worker
    if not spec.mounts:
        return
    with session.journal.progress("volumes", node=node.name):
        volumes = await session.provider.volumes(node, spec)
        result = await connections.run(node, volumes_command(volumes), sudo=True, timeout=TIMEOUT)
        raise_failed("volumes", [result], hint="without mount in the profile it is attached, and left to your scripts")
