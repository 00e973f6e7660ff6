"""The checks that every cluster must pass, whatever its profile says."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Sequence

from cloudmesh_cluster.checks.runner import event_of
from cloudmesh_cluster.core.model import CheckResult, CommandResult, Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.nodes.boot_steps import find_keys
from cloudmesh_cluster.nodes.keys import blob
from cloudmesh_cluster.nodes.keys import read_private as read_key
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.ssh.connections import Connections, command_line

CLOCK_TOLERANCE = 5.0
TIMEOUT = 60.0


async def built_in_checks(
    session: Session,
    connections: Connections,
    *,
    touching: Sequence[Node] | None = None,
    full_mesh: bool = False,
) -> list[CheckResult]:
    """Run the built-in checks on all nodes in parallel.

    Args:
        session: the running operation.
        connections: to the nodes.
        touching: only SSH between nodes where one of these is involved; None for all.
        full_mesh: try SSH between all pairs instead of a ring and master to all.

    """

    async def kept(group: Awaitable[list[CheckResult]]) -> list[CheckResult]:
        results = await group
        for result in results:
            session.journal.keep(event_of(result))
        return results

    groups = await asyncio.gather(
        kept(_names_and_clocks(session, connections)),
        kept(_ssh_between_nodes(session, connections, touching=touching, full_mesh=full_mesh)),
        kept(_bootstrap_keys(session, connections)),
        kept(_bootstrap_login(session, connections)),
    )
    return [result for group in groups for result in group] + check_scripts(session)


async def _boot_script(
    connections: Connections, node: Node, name: str, *words: str, sudo: bool = False, stdin: bytes | None = None
) -> CommandResult:
    text = resource("scripts", "boot", name).read_text()
    return await connections.run(
        node, command_line(["bash", "-c", text, name, *words]), sudo=sudo, stdin=stdin, timeout=TIMEOUT
    )


async def _names_and_clocks(session: Session, connections: Connections) -> list[CheckResult]:
    cluster = session.cluster

    async def probe(node: Node) -> tuple[Node, CommandResult, float]:
        before = time.time()
        result = await _boot_script(connections, node, "probe", cluster.name, node.name, node.short_name)
        return node, result, (before + time.time()) / 2

    answers = await asyncio.gather(*(probe(node) for node in cluster.nodes))
    facts = {node.name: _facts(result.stdout) for node, result, _ in answers}
    common = Counter(fact.get("hosts", "") for fact in facts.values()).most_common(1)[0][0]
    results = []
    for node, result, when in answers:
        results.append(_names(node, result, facts[node.name], common))
        results.append(_clock(node, result, facts[node.name], when))
    return results


def _names(node: Node, result: CommandResult, facts: dict[str, str], common: str) -> CheckResult:
    wrong = [
        f"{name} is {facts.get(key) or 'unknown'}"
        for key, name in (("full", node.name), ("short", node.short_name))
        if facts.get(key) != node.private_ip
    ]
    if facts.get("hosts") != common:
        wrong.append("its hosts block differs from the others")
    actual = _no_answer(result) or "; ".join(wrong) or "as expected"
    expected = "own names are the private address, hosts block as everywhere"
    return CheckResult("names", node.name, expected, actual, result.ok and not wrong, result.seconds)


def _clock(node: Node, result: CommandResult, facts: dict[str, str], when: float) -> CheckResult:
    expected = f"within {CLOCK_TOLERANCE:g} s of the client"
    if "time" not in facts:
        return CheckResult("clocks", node.name, expected, _no_answer(result) or "no time", False, result.seconds)
    offset = float(facts["time"]) - when
    return CheckResult(
        "clocks", node.name, expected, f"{offset:+.1f} s", abs(offset) <= CLOCK_TOLERANCE, result.seconds
    )


async def _ssh_between_nodes(
    session: Session, connections: Connections, *, touching: Sequence[Node] | None, full_mesh: bool
) -> list[CheckResult]:
    edges = ssh_edges(session.cluster.nodes, session.record.profile.mesh, touching=touching, full_mesh=full_mesh)

    async def reach(node: Node, peers: list[Node]) -> CheckResult:
        names = [peer.name for peer in peers]
        result = await _boot_script(connections, node, "reach-peers", *names)
        facts = _facts(result.stdout)
        wrong = [f"{name}: {facts.get(name, 'no answer')}" for name in names if facts.get(name) != f"ok {name}"]
        actual = _no_answer(result) or "; ".join(wrong) or f"{len(names)} answer"
        expected = f"{len(names)} answer by name"
        return CheckResult("ssh between nodes", node.name, expected, actual, result.ok and not wrong, result.seconds)

    return await asyncio.gather(*(reach(node, peers) for node, peers in edges))


def ssh_edges(
    nodes: Sequence[Node], mesh: str, *, touching: Sequence[Node] | None = None, full_mesh: bool = False
) -> list[tuple[Node, list[Node]]]:
    """Return who should try to log in to whom: a ring and master to all, so that the cost is O(N).

    Args:
        nodes: all nodes of the cluster, master first.
        mesh: the profile's; "master-to-workers" leaves the ring out, "none" all.
        touching: only pairs where one is of these; None for all.
        full_mesh: all pairs instead.

    """
    edges = []
    touched = None if touching is None else {node.name for node in touching}
    for position, node in enumerate(nodes):
        peers: list[Node] = []
        if mesh == "all" and full_mesh:
            peers = [peer for peer in nodes if peer is not node]
        elif node.role == "master" and mesh != "none":
            peers = list(nodes[1:])
        elif mesh == "all":
            peers = [nodes[(position + 1) % len(nodes)]]
        if touched is not None and node.name not in touched:
            peers = [peer for peer in peers if peer.name in touched]
        if peers:
            edges.append((node, peers))
    return edges


async def _bootstrap_keys(session: Session, connections: Connections) -> list[CheckResult]:
    """Search every authorized_keys file of every node for the keys that nodes were booted with, if any was."""
    if session.machines_stay:
        return []
    step = find_keys([blob(key) for key in session.record.bootstrap_keys])

    async def search(node: Node) -> CheckResult:
        result = await connections.run(node, step.command, sudo=True, stdin=step.stdin, timeout=TIMEOUT)
        found = " ".join(result.stdout.split())
        actual = _no_answer(result) or (f"accepted by {found}" if found else "in no file")
        return CheckResult(
            "bootstrap key dead", node.name, "in no file", actual, result.ok and not found, result.seconds
        )

    return await asyncio.gather(*(search(node) for node in session.cluster.nodes))


async def _bootstrap_login(session: Session, connections: Connections) -> list[CheckResult]:
    """Try the key of this operation from the last node; the propagation has shown that it did open the receiver."""
    file = session.home.bootstrap_key(session.name, session.journal.operation.id)
    if not file.exists():
        return []
    cluster = session.cluster
    last = cluster.nodes[-1]
    result = await _boot_script(
        connections, last, "try-key", session.user, cluster.master.private_ip, sudo=True, stdin=read_key(file)
    )
    answer = result.stdout.strip()
    dead = result.ok and "Permission denied" in answer
    return [
        CheckResult(
            "bootstrap key dead", last.name, "master denies it", _no_answer(result) or answer, dead, result.seconds
        )
    ]


def check_scripts(session: Session) -> list[CheckResult]:
    """Compare what was written with what ran where; a script that was only stored is not expected on earlier nodes."""
    results = []
    scripts = [script for script in session.state.scripts(session.name) if script.state == "remembered"]
    runs = {script.id: session.state.runs(script.id) for script in scripts}
    for node in session.cluster.nodes:
        mine = [
            script
            for script in scripts
            if script.role in ("all", node.role) and runs[script.id].get(node.name, 0) is not None
        ]
        wrong = [
            f"{script.name}: {'did not run' if status is None else f'exit {status}'}"
            for script in mine
            if (status := runs[script.id].get(node.name)) != script.expect.exit
        ]
        expected = f"{len(mine)} ran as expected"
        results.append(CheckResult("scripts", node.name, expected, "; ".join(wrong) or expected, not wrong, 0.0))
    return results


def _facts(stdout: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)=(.*)$", stdout, re.MULTILINE))


def _no_answer(result: CommandResult) -> str:
    return "" if result.ok else f"exit {result.exit}: {(result.stderr.strip() or 'no output').splitlines()[-1]}"
