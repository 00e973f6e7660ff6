"""Evidence: what the nodes can still tell, collected before anything is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from cloudmesh_cluster.errors import CmError
from cloudmesh_cluster.files import make_private, write_atomically
from cloudmesh_cluster.model import Node
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.remote import Connections

DEADLINE = 20.0
LOGS = "/var/log/cloud-init.log /var/log/cloud-init-output.log /var/log/cm/*.log /var/lib/cm/propagation.json"
COLLECT = f'for file in {LOGS}; do [ -f "$file" ] && echo "==> $file" && tail -n 200 "$file"; done; exit 0'


async def collect(session: Session) -> None:
    """Save the consoles and the logs of all nodes to the operation's logs; what does not answer is left out."""
    try:
        cluster = session.cluster
    except CmError:
        # The operation failed before there was a cluster: there is nothing to collect.
        return
    try:
        with session.journal.progress("collect evidence"):
            await _collect(session, cluster.nodes)
    except (CmError, OSError) as error:
        # Want of evidence must not keep anything from being undone.
        session.journal.warn(f"not all evidence could be collected: {error}")


async def _collect(session: Session, nodes: Sequence[Node]) -> None:
    folder = Path(session.logs)
    for node in nodes:
        _save(folder / f"{node.name}.console.log", session.provider.console(node))
    there = session.provider.states(session.name)
    reached = [node for node in nodes if node.state in ("reached", "running") and there.get(node.name) == "running"]
    if reached:
        async with session.connections() as connections:
            await asyncio.gather(*(_save_logs(connections, node, folder) for node in reached))


async def _save_logs(connections: Connections, node: Node, folder: Path) -> None:
    result = await connections.run(node, f"bash -c '{COLLECT}'", sudo=True, timeout=DEADLINE)
    _save(folder / f"{node.name}.logs.log", result.stdout if result.ok else result.stderr)


def _save(path: Path, text: str) -> None:
    if text:
        make_private(path.parent)
        write_atomically(path, text.encode(errors="replace"))
