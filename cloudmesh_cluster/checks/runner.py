"""Checks of profiles and plugins: run on their nodes at once, tried again until their deadline, judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudmesh_cluster.checks.verdicts import check_command, judge
from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.events import Event, EventKind
from cloudmesh_cluster.core.model import Check, CheckResult, Cluster, Node, Problem
from cloudmesh_cluster.core.targets import select
from cloudmesh_cluster.nodes.scripts import environment, with_environment

if TYPE_CHECKING:
    from cloudmesh_cluster.ssh.connections import Connections

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 2.0
ENDED = 69
"""How a check exits that found a daemon ended: no waiting helps, unless its node is just being started."""
ENDED_FOR = 10.0
"""Seconds after which a daemon that has ended is not waited for any more."""


def check_nodes(cluster: Cluster, check: Check) -> tuple[Node, ...]:
    """Return the nodes that a check runs on; "cluster" is once, on the master.

    Raises:
        NotFound: the check's target names nothing.

    """
    return (cluster.master,) if check.on == "cluster" else select(cluster.nodes, check.on)


def misplaced(cluster: Cluster, checks: Sequence[Check], *, source: str) -> list[Problem]:
    """Return the checks whose target names no node of a cluster; `source` is where they are written."""
    problems = []
    for check in checks:
        try:
            check_nodes(cluster, check)
        except NotFound as error:
            problems.append(Problem(f"{source}: check {check.name!r}", f"on: {error.message}", error.hint))
    return problems


async def run_checks(
    connections: Connections,
    cluster: Cluster,
    checks: Sequence[Check],
    *,
    report: Callable[[CheckResult], None] = lambda result: None,
    once: bool = False,
) -> list[CheckResult]:
    """Run checks on all their nodes at once; when a daemon has ended, no failed check is tried again.

    Args:
        connections: to the nodes.
        cluster: whose nodes.
        checks: what to check.
        report: is called with each result as it comes.
        once: try each check once, instead of until its deadline.

    Returns:
        A result for each check and node, in the order of checks and nodes.

    """
    hopeless = asyncio.Event()
    if once:
        hopeless.set()

    async def run(check: Check, node: Node) -> CheckResult:
        result = await _run_until_good(connections, cluster, check, node, hopeless)
        report(result)
        return result

    return await asyncio.gather(*(run(check, node) for check in checks for node in check_nodes(cluster, check)))


def event_of(result: CheckResult) -> Event:
    """Return what is told of a check's result when it has just come."""
    verdict = "ok" if result.ok else f"expected {result.expected}, found {result.actual}"
    kind: EventKind = "info" if result.ok else "warning"
    return Event(kind, "verify", result.node, f"{result.check}: {verdict}", result.seconds)


async def _run_until_good(
    connections: Connections, cluster: Cluster, check: Check, node: Node, hopeless: asyncio.Event
) -> CheckResult:
    """Try a check again until it is good, its time is over or there is no hope; there is no other event to wait for."""
    line = with_environment(environment(cluster, node), ["bash", "-c", check_command(check)])
    began, pause = time.monotonic(), FIRST_PAUSE
    ended_since: float | None = None
    while True:
        left = check.within - (time.monotonic() - began)
        answer = await connections.run(node, line, sudo=True, timeout=max(left, 1.0))
        result = judge(check, answer)
        seconds = time.monotonic() - began
        result = replace(result, seconds=seconds)
        if result.ok or seconds + pause > check.within:
            return result
        ended_since = (ended_since or time.monotonic()) if answer.exit == ENDED else None
        if ended_since is not None and time.monotonic() - ended_since >= ENDED_FOR:
            hopeless.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(hopeless.wait(), pause)
        if hopeless.is_set():
            return result
        pause = min(pause * 2, LONGEST_PAUSE)
