"""Running the user's scripts on nodes: output streamed and kept, results written down."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cloudmesh_cluster.checks.causes import cause_of
from cloudmesh_cluster.core.errors import RemoteFailed
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.files import append_private, make_private
from cloudmesh_cluster.core.model import CommandResult, Node, ScriptExpectation
from cloudmesh_cluster.core.redaction import Lines, without
from cloudmesh_cluster.nodes.scripts import script_command
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.wiring import raise_failed
from cloudmesh_cluster.ssh.connections import Connections
from cloudmesh_cluster.state.records import WrittenScript


async def replay(session: Session, connections: Connections, nodes: Sequence[Node], *, roles: Sequence[str]) -> None:
    """Run on nodes the remembered scripts of some roles, in the order in which they were written.

    Raises:
        RemoteFailed: a script failed; the later ones were not run.

    """
    for script in session.state.scripts(session.name):
        if script.role in roles and script.state == "remembered" and nodes:
            judge_script(session, script, await run_script(session, connections, nodes, script))
            await test_script(session, connections, nodes, script)


async def run_script(
    session: Session, connections: Connections, nodes: Sequence[Node], script: WrittenScript
) -> list[CommandResult]:
    """Run a script on nodes at once and write down how it ended; return each answer, good or bad."""
    results = await run_quietly(session, connections, nodes, script)
    session.state.add_runs(script.id, results)
    return results


async def run_quietly(
    session: Session, connections: Connections, nodes: Sequence[Node], script: WrittenScript
) -> list[CommandResult]:
    """Run a script on nodes at once, leaving no trace in the list of scripts; return each answer, good or bad."""
    cluster = session.cluster

    async def run(node: Node) -> CommandResult:
        with session.journal.progress(f"script {script.name}", node=node.name) as part:
            result = await connections.run(
                node,
                script_command(cluster, node, f"{script.id:04d}-{script.name}"),
                sudo=True,
                stdin=script.content,
                timeout=script.expect.timeout,
                on_line=output_listener(session, node, script.name),
            )
            part.problem = _complaint(script, result)
        return result

    return without_secrets(session, await asyncio.gather(*(run(node) for node in nodes)))


def without_secrets(session: Session, results: Sequence[CommandResult]) -> list[CommandResult]:
    """Return answers without the cluster's secrets, for errors that quote them."""
    secrets = session.journal.secrets
    return [
        replace(each, stdout=without(each.stdout, secrets), stderr=without(each.stderr, secrets)) for each in results
    ]


def judge_script(session: Session, script: WrittenScript, results: Sequence[CommandResult]) -> None:
    """Raise when a script did not do what is expected of it on a node.

    Raises:
        RemoteFailed: says on which nodes, what was expected and what came.

    """
    hint = f"its output is in {session.logs}"
    if script.expect.exit == 0:
        raise_failed(f"script {script.name}", results, hint=hint)
    for result in results:
        if complaint := _complaint(script, result):
            raise RemoteFailed(f"script {script.name} on {result.node}: {complaint}", results, hint=hint)


def _complaint(script: WrittenScript, result: CommandResult) -> str:
    """Return what a script did not do of what is expected of it; nothing when it did all."""
    expect = script.expect
    if expect.exit == 0 and not result.ok:
        return cause_of(result).words
    if result.exit != expect.exit:
        return f"expected exit status {expect.exit}, got {result.exit}"
    if expect.stdout is not None and not re.search(expect.stdout, result.stdout, re.MULTILINE):
        return f"nothing in its output matches {expect.stdout!r}"
    return ""


async def test_script(session: Session, connections: Connections, nodes: Sequence[Node], script: WrittenScript) -> None:
    """Run the test of a script, if it has one, on the nodes where the script ran.

    Raises:
        RemoteFailed: the test did not exit 0.

    """
    if script.expect.test is not None:
        own = ScriptExpectation(timeout=script.expect.timeout)
        test = replace(script, name=f"{script.name}-test", content=script.expect.test.encode(), expect=own)
        results = await run_quietly(session, connections, nodes, test)
        raise_failed(f"the test of script {script.name}", results, hint=f"its output is in {session.logs}")


def output_listener(session: Session, node: Node, name: str) -> Callable[[str, str], None]:
    """Return what takes each line that a script prints: it is told, and kept in the operation's logs."""
    folder = Path(session.logs)
    make_private(folder)
    log = folder / f"{node.name}.{name}.log"
    kept: dict[str, Lines] = defaultdict(lambda: Lines(session.journal.secrets))

    def listen(stream: str, line: str) -> None:
        append_private(log, f"{kept[stream].redact(line)}\n")
        session.journal.emit(Event("output", f"script {name}", node.name, line))

    return listen
