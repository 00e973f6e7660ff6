"""Running the user's scripts on nodes: output streamed and kept, results written down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from cloudmesh_cluster.events import Event
from cloudmesh_cluster.model import CommandResult, Node
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.wiring import raise_failed
from cloudmesh_cluster.remote import Connections
from cloudmesh_cluster.role_scripts import script_command
from cloudmesh_cluster.state import WrittenScript


async def replay(
    session: Session, connections: Connections, nodes: Sequence[Node], *, roles: Sequence[str]
) -> None:
    """Run on nodes the remembered scripts of some roles, in the order in which they were written.

    Raises:
        RemoteFailed: a script failed; the later ones were not run.

    """
    for script in session.state.scripts(session.name):
        if script.role in roles and script.state == "remembered" and nodes:
            results = await run_script(session, connections, nodes, script)
            raise_failed(f"script {script.name}", results, hint=f"its output is in {session.logs}")


async def run_script(
    session: Session,
    connections: Connections,
    nodes: Sequence[Node],
    script: WrittenScript,
    *,
    timeout: float | None = None,
) -> list[CommandResult]:
    """Run a script on nodes at once; return each answer, good or bad."""
    cluster = session.cluster

    async def run(node: Node) -> CommandResult:
        with session.journal.progress(f"script {script.name}", node=node.name):
            return await connections.run(
                node,
                script_command(cluster, node, f"{script.id:04d}-{script.name}"),
                sudo=True,
                stdin=script.content,
                timeout=timeout,
                on_line=output_listener(session, node, script.name),
            )

    results = await asyncio.gather(*(run(node) for node in nodes))
    session.state.add_runs(script.id, results)
    return list(results)


def output_listener(session: Session, node: Node, name: str) -> Callable[[str, str], None]:
    """Return what takes each line that a script prints: it is told, and kept in the operation's logs."""
    folder = Path(session.logs)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = folder / f"{node.name}.{name}.log"

    def listen(stream: str, line: str) -> None:
        with log.open("a", encoding="utf-8", errors="replace") as file:
            file.write(line + "\n")
        session.journal.emit(Event("output", f"script {name}", node.name, line))

    return listen
