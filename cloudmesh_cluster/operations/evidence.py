"""Evidence: what the nodes can still tell, collected before anything is undone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cloudmesh_cluster.errors import CmError
from cloudmesh_cluster.files import write_atomically
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
    booted = [node for node in cluster.nodes if node.state != "planned"]
    folder = Path(session.logs)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with session.journal.progress("collect evidence"):
        for node in booted:
            _save(folder / f"{node.name}.console.log", session.provider.console(node))
        async with session.connections() as connections:
            reached = [node for node in booted if node.state in ("reached", "running")]
            await asyncio.gather(*(_save_logs(connections, node, folder) for node in reached))


async def _save_logs(connections: Connections, node: Node, folder: Path) -> None:
    result = await connections.run(node, f"bash -c '{COLLECT}'", sudo=True, timeout=DEADLINE)
    _save(folder / f"{node.name}.logs.log", result.stdout if result.ok else result.stderr)


def _save(path: Path, text: str) -> None:
    if text:
        write_atomically(path, text.encode(errors="replace"))
