"""`cm cluster resume`: goes on with an operation whose process was killed, from what the journal says."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from cloudmesh_cluster.core.codec import decode
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations import create, delete, importing, scale, services, write
from cloudmesh_cluster.operations.conda import change as environments
from cloudmesh_cluster.operations.plan import Plan
from cloudmesh_cluster.operations.session import OnFailure, Session
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.operations.transaction.undo import finish_undoing
from cloudmesh_cluster.state.records import RESUMABLE, Operation
from cloudmesh_cluster.state.store import State

Kind = tuple[type[Any], Callable[[Session, Any], Awaitable[Any]]]


async def _delete(current: Session, request: delete.DeleteRequest) -> None:
    await delete.carry_out(current, force=request.force)


KINDS: dict[str, Kind] = {
    "create": (Plan, create.carry_out),
    "scale": (scale.ScaleRequest, scale.carry_out),
    "replace": (scale.ReplaceRequest, scale.carry_out_replace),
    "write": (write.WriteRequest, write.carry_out),
    "install": (services.PluginsRequest, services.carry_out_install),
    "uninstall": (services.PluginsRequest, services.carry_out_uninstall),
    "start": (services.PluginsRequest, services.carry_out_start),
    "stop": (services.PluginsRequest, services.carry_out_stop),
    "import": (importing.ImportRequest, importing.carry_out),
    "delete": (delete.DeleteRequest, _delete),
    **dict.fromkeys(environments.KINDS, (environments.EnvironmentRequest, environments.carry_out)),
}

NEEDING_NO_START = ("create", "stop", "delete", "import")
"""Operations that start by themselves the nodes that they need."""


def unfinished(home: Home, name: str) -> Operation:
    """Return the operation that `resume` would go on with.

    Raises:
        NotFound: there never was such a cluster.
        UsageError: there is nothing to resume.

    """
    with State(home) as state:
        return _unfinished(state, name)


async def resume(home: Home, name: str, emit: Emit, *, timeout: float | None = None, deletes: bool = False) -> Any:
    """Go on with the newest operation that was not finished; return what it returns.

    Nodes that have stopped since, as by a reboot, are started first, and what was being taken back when it was cut off
    is taken back whole. A script that fails now is taken back as its writer asked, and a growth leaves the cluster as
    it was. Whatever else fails is kept, so that it can be resumed once more or deleted.

    Args:
        home: whose cluster.
        name: its name.
        emit: who listens.
        timeout: seconds after which it fails; None for no limit.
        deletes: whether it may go on with a delete: who resumes may not remember that it was one.

    Raises:
        NotFound: there never was such a cluster.
        UsageError: there is nothing to resume, or only a delete.

    """
    operation = unfinished(home, name)
    if operation.kind == "delete" and not deletes:
        hint = f"cm cluster resume {name} -y, or cm cluster delete {name}"
        raise UsageError(f"resume would go on deleting cluster {name!r}", hint=hint)
    request_type, carry_out = KINDS[operation.kind]
    request = decode(request_type, json.dumps(operation.request))
    async with session(
        home, name, operation.kind, request, emit=emit, timeout=timeout, resumed=operation,
        on_failure=_on_failure(request), outcome=_outcome(request),
        refuse=lambda state: _require_unfinished(state, name, operation),
    ) as current:  # fmt: skip
        if operation.kind not in NEEDING_NO_START:
            changed = request.plugins if operation.kind in ("install", "uninstall") else ()
            await services.start_stopped(current, but=changed)
        await finish_undoing(current)
        return await carry_out(current, request)


def _on_failure(request: object) -> OnFailure:
    grows = isinstance(request, scale.ScaleRequest) and bool(request.add)
    return "rollback" if grows or isinstance(request, write.WriteRequest) else "keep"


def _outcome(request: object) -> str:
    return write.OUTCOMES[request.recovery] if isinstance(request, write.WriteRequest) else "rolled back"


def _unfinished(state: State, name: str) -> Operation:
    operation = state.newest_change(name)
    if operation is None:
        state.cluster(name)
    if operation is None or operation.state not in RESUMABLE or name not in state.cluster_names():
        raise UsageError(f"nothing to resume on cluster {name!r}", hint=f"cm cluster history {name}")
    return operation


def _require_unfinished(state: State, name: str, operation: Operation) -> None:
    """Look again, now that the lock is held: another process may have finished it meanwhile."""
    if _unfinished(state, name).id != operation.id:
        raise UsageError(f"nothing to resume on cluster {name!r}", hint=f"cm cluster history {name}")
