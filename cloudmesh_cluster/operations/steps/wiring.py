"""Wiring: every node learns every node's name, host key and public key in one atomic push; bootstrap keys go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cloudmesh_cluster.checks.causes import failures
from cloudmesh_cluster.core.errors import RemoteFailed
from cloudmesh_cluster.core.files import write_atomically
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.nodes.boot_steps import wire
from cloudmesh_cluster.nodes.hosts import (
    authorized_keys_block,
    client_known_hosts,
    hosts_block,
    known_hosts_block,
    ssh_ports,
)
from cloudmesh_cluster.nodes.inventory import render
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.plugins.firewall import firewall
from cloudmesh_cluster.ssh.connections import Connections

WIRE_TIMEOUT = 60.0


async def wire_all(session: Session, connections: Connections | None = None) -> None:
    """Push the marked blocks and the firewall to all nodes of the cluster that run, and write the client's own files.

    Nodes that do not run are warned about: they learn it when the next operation wires them.

    Raises:
        RemoteFailed: a node could not be wired.

    """
    if connections is None:
        async with session.connections() as own:
            await wire_all(session, own)
        return
    cluster = session.cluster
    write_client_files(session)
    step = wire(
        cluster=cluster.name,
        user=session.user,
        hosts=hosts_block(cluster.name, cluster.nodes),
        known_hosts=known_hosts_block(cluster.name, cluster.nodes, session.state.host_keys(cluster.name)),
        authorized_keys=authorized_keys_block(
            cluster.name, cluster.nodes, session.state.public_keys(cluster.name), session.record.profile.mesh
        ),
        firewall=firewall(session.plugins, cluster.nodes, user=session.user, default=session.record.profile.listen_to),
        ssh_ports=ssh_ports(cluster.nodes, _ports(session)) if session.machines_stay else "",
        remove_bootstrap=not session.machines_stay,
    )

    async def wire_node(node: Node) -> CommandResult:
        with session.journal.progress("wire", node=node.name) as part:
            result = await connections.run(node, step.command, sudo=True, stdin=step.stdin, timeout=WIRE_TIMEOUT)
            part.judge(result)
        return result

    running = session.running(cluster.nodes)
    for node in cluster.nodes:
        if node not in running:
            session.journal.warn("it does not run, and learns nothing of the other nodes", node=node.name)
    raise_failed("wire", await asyncio.gather(*(wire_node(node) for node in running)))


def _ports(session: Session) -> dict[str, int]:
    """Return the ports of the SSH servers, which machines that were there before may have chosen."""
    return {node.name: int(session.provider.ssh_route(node).get("Port", 22)) for node in session.cluster.nodes}


def write_client_files(session: Session) -> None:
    """Write the pinned host keys and the configuration for the system's ssh into the cluster's folder."""
    cluster, home = session.cluster, session.home
    lines = client_known_hosts(cluster.nodes, session.state.host_keys(cluster.name))
    write_atomically(home.known_hosts(cluster.name), lines.encode())
    config = render(
        "ssh",
        cluster,
        user=session.user,
        key=home.login_key(cluster.name),
        known_hosts=home.known_hosts(cluster.name),
        ssh_config=home.ssh_config(cluster.name),
        route=session.provider.ssh_route,
    )
    write_atomically(home.ssh_config(cluster.name), config.encode())


def raise_failed(what: str, results: Sequence[CommandResult], *, hint: str = "") -> None:
    """Raise when a result is not ok.

    Raises:
        RemoteFailed: says which nodes failed, and why the first of them did.

    """
    if failed := [result for result in results if not result.ok]:
        raise RemoteFailed(failures(what, failed), results, hint=hint)
