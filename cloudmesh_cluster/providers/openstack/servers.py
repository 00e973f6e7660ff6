"""The servers of a cluster as Nova knows them: states, consoles, start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cloudmesh_cluster.model import Node
from cloudmesh_cluster.providers.openstack.cloud import Cloud

PAUSE = 2.0
STATES = {"ACTIVE": "running", "SHUTOFF": "stopped", "ERROR": "failed"}


def states(cloud: Cloud, cluster: str) -> dict[str, str]:
    """Return the state of each server by name, by one call."""
    return {server.name: STATES.get(server.status, server.status.lower()) for server in cloud.servers(cluster)}


def console(cloud: Cloud, server: str) -> str:
    """Return the console log that Nova keeps of a server, or why it has none."""
    from novaclient.exceptions import ClientException

    try:
        return str(cloud.nova.servers.get_console_output(server) or "")
    except ClientException as error:
        return f"(no console: {error})"


async def switch(cloud: Cloud, nodes: Sequence[Node], action: str, *, until: str) -> None:
    """Start or stop servers, and wait until Nova says that they have.

    Args:
        cloud: where they are.
        nodes: which ones, of one cluster.
        action: "start" or "stop".
        until: the state that they reach by it.

    """
    if not nodes:
        return
    cluster = nodes[0].cluster
    now = await asyncio.to_thread(states, cloud, cluster)
    for node in nodes:
        if now.get(node.name) != until:
            await asyncio.to_thread(getattr(cloud.nova.servers, action), node.provider_id)
    names = {node.name for node in nodes}
    while any(now.get(name) != until for name in names):
        await asyncio.sleep(PAUSE)
        now = await asyncio.to_thread(states, cloud, cluster)
