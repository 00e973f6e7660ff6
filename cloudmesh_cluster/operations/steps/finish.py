"""The last step of an operation that brings nodes up: verify the cluster, and sum up."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cloudmesh_cluster.core.model import CheckResult, Cluster, Node
from cloudmesh_cluster.operations.journal import StepTime
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.checks import verdict_on, verify_all


@dataclass(frozen=True)
class Summary:
    """What came of an operation that brings nodes up.

    Args:
        cluster: as it is now.
        checks: all results; every one is ok.
        seconds: how long it took in all.
        steps: how long each step took; steps overlap.
        login: the line to type to log in.
        uis: name and address of each user interface, inside the cluster.
        warnings: what did not stop the operation but should be known.

    """

    cluster: Cluster
    checks: tuple[CheckResult, ...]
    seconds: float
    steps: tuple[StepTime, ...]
    login: str
    uis: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


async def finish(current: Session, began: float, *, touching: tuple[Node, ...] | None = None) -> Summary:
    """Verify the cluster, call it ready, and return the summary.

    Args:
        current: the running operation.
        began: when it began, by `time.monotonic()`.
        touching: the nodes whose SSH edges are verified; None for all.

    Raises:
        ChecksFailed: the cluster is not ready.

    """
    with current.journal.step("verify"):
        async with current.connections() as connections:
            checks = await verify_all(current, connections, touching=touching)
    current.state.put_verdict(current.name, verdict_on(checks))
    current.state.set_whole(current.name)
    return Summary(
        cluster=current.cluster,
        checks=tuple(checks),
        seconds=time.monotonic() - began,
        steps=tuple(current.journal.times),
        login=f"cm cluster ssh {current.name}",
        uis=tuple(
            (port.name, f"http://{node.name}:{port.number}")
            for chosen in current.plugins
            for port in chosen.pages
            for node in current.cluster.nodes
            if port.role == node.role and node.index < 2
        ),
        warnings=tuple(current.journal.warnings),
    )
