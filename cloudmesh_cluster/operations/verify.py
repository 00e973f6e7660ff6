"""`cm cluster verify`: the built-in checks, then those of the plugins and of the profile."""

from __future__ import annotations

from dataclasses import dataclass

from cloudmesh_cluster.core.errors import ChecksFailed
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult
from cloudmesh_cluster.operations.steps.checks import run_all_checks, verdict_on
from cloudmesh_cluster.operations.steps.preconditions import require_any_running
from cloudmesh_cluster.operations.transaction.operation import session


@dataclass(frozen=True)
class VerifyRequest:
    """What to verify: `full_mesh` tries SSH between all pairs of nodes, `once` tries each check once."""

    full_mesh: bool = False
    once: bool = False


async def verify(
    home: Home, name: str, emit: Emit, *, full_mesh: bool = False, once: bool = False
) -> list[CheckResult]:
    """Run all checks of a cluster; it is ready or unhealthy by what they find.

    Raises:
        NotFound: there is no such cluster.
        ChecksFailed: a check failed; the error holds all results.

    """
    request = VerifyRequest(full_mesh, once)
    async with session(home, name, "verify", request, emit=emit, refuse=require_any_running(home, name)) as current:
        async with current.connections() as connections:
            results = await run_all_checks(current, connections, full_mesh=full_mesh, once=once)
        current.state.put_verdict(name, verdict_on(results))
        failed = None if all(result.ok for result in results) else ChecksFailed(results)
        if failed is not None:
            current.end_state, current.end_error = "failed", failed.message
    if failed is not None:
        raise failed
    return results
