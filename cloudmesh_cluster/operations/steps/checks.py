"""Run the checks of a cluster: the built-in ones, then those of its plugins and of its profile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from cloudmesh_cluster.checks.runner import event_of, run_checks
from cloudmesh_cluster.core.errors import ChecksFailed
from cloudmesh_cluster.core.events import now
from cloudmesh_cluster.core.model import CheckResult, Node, Verdict
from cloudmesh_cluster.core.redaction import redact, without
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.built_in_checks import built_in_checks
from cloudmesh_cluster.ssh.connections import Connections


async def prove(current: Session, connections: Connections, *, keep: bool = True) -> None:
    """Run all checks at the end of an operation that they don't take back; what fails is a warning.

    The cluster is ready or unhealthy by it. With `keep` the results are those of the operation.
    """
    with current.journal.step("verify"):
        results = await run_all_checks(current, connections, keep=keep)
    current.state.put_verdict(current.name, verdict_on(results))
    current.state.set_whole(current.name)
    if not all(result.ok for result in results):
        current.journal.warn(f"{ChecksFailed(results).message}; see: cm cluster verify {current.name}")


def verdict_on(results: Sequence[CheckResult]) -> Verdict:
    """Return what results amount to, now."""
    return Verdict(now(), len(results), sum(not result.ok for result in results))


async def verify_all(
    current: Session, connections: Connections, *, touching: Sequence[Node] | None = None
) -> list[CheckResult]:
    """Run all checks inside another operation.

    Raises:
        ChecksFailed: a check failed; the error holds all results.

    """
    results = await run_all_checks(current, connections, touching=touching)
    if not all(result.ok for result in results):
        raise ChecksFailed(results, hint=f"cm cluster history {current.name}")
    return results


async def run_all_checks(
    current: Session,
    connections: Connections,
    *,
    touching: Sequence[Node] | None = None,
    full_mesh: bool = False,
    once: bool = False,
    keep: bool = True,
) -> list[CheckResult]:
    """Run all checks, write the results down if they are to be kept, and return them, the built-in ones first."""
    checks = [check for chosen in current.plugins for check in chosen.plugin.checks]
    checks += current.record.profile.checks

    def report(result: CheckResult) -> None:
        current.journal.emit(event_of(result))

    built_in, own = await asyncio.gather(
        built_in_checks(current, connections, touching=touching, full_mesh=full_mesh),
        run_checks(connections, current.cluster, checks, report=report, once=once),
    )
    secrets = current.journal.secrets
    results = [replace(each, actual=without(each.actual, secrets)) for each in (*built_in, *own)]
    if keep:
        kept = [replace(each, expected=redact(each.expected), actual=redact(each.actual)) for each in results]
        current.state.add_checks(current.journal.operation.id, kept)
    return results
