"""Evidence: what the nodes can still tell, collected before anything is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from cloudmesh_cluster.core.errors import CmError, OutOfTime
from cloudmesh_cluster.core.files import make_private, write_atomically
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.redaction import redact
from cloudmesh_cluster.core.targets import fold
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.ssh.connections import Connections

DEADLINE = 20.0
NODES_SHOWN = 3
LINES_SHOWN = 10
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
    for name, text in session.provider.evidence(session.name).items():
        _save(session, folder / name, text)
    for node in nodes:
        _save(session, folder / f"{node.name}.console.log", session.provider.console(node))
    there = session.provider.states(session.name)
    reached = [node for node in nodes if node.state in ("reached", "running") and there.get(node.name) == "running"]
    if reached:
        async with session.connections() as connections:
            await asyncio.gather(*(_save_logs(session, connections, node, folder) for node in reached))


async def _save_logs(session: Session, connections: Connections, node: Node, folder: Path) -> None:
    result = await connections.run(node, f"bash -c '{COLLECT}'", sudo=True, timeout=DEADLINE)
    _save(session, folder / f"{node.name}.logs.log", result.stdout if result.ok else result.stderr)


def _save(session: Session, path: Path, text: str) -> None:
    if text:
        make_private(path.parent)
        write_atomically(path, redact(text, session.journal.secrets).encode(errors="replace"))


def out_of_time(session: Session, seconds: float) -> OutOfTime:
    """Return what to raise when the time of an operation is over: what was not done, and what its nodes said last.

    Args:
        session: whose evidence has been collected.
        seconds: that the operation was given.

    """
    steps: dict[str, list[str]] = {}
    for step, node in session.journal.stopped:
        steps.setdefault(step, []).extend([node] if node else [])
    undone = ", ".join(f"{step} {fold(nodes)}".rstrip() for step, nodes in steps.items())
    late = list(dict.fromkeys(node for nodes in steps.values() for node in nodes))
    hint = "\n".join(_last_words(session, node) for node in late[:NODES_SHOWN])
    return OutOfTime(seconds, undone=undone or "nothing was begun", hint=hint)


def _last_words(session: Session, node: str) -> str:
    """Return the end of a node's console as it was saved."""
    file = Path(session.logs) / f"{node}.console.log"
    lines = file.read_text(errors="replace").splitlines()[-LINES_SHOWN:] if file.exists() else []
    return "\n  ".join([f"the console of {node} ends with:", *lines]) if lines else f"the console of {node} is empty"
