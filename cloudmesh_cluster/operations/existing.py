"""What an operation on an existing cluster refuses before it writes anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cloudmesh_cluster.errors import InvalidInput, UsageError
from cloudmesh_cluster.home import Home
from cloudmesh_cluster.model import Node
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.records import RESUMABLE, WORKING, Operation
from cloudmesh_cluster.state import State
from cloudmesh_cluster.targets import fold


def require_cluster(name: str, *, states: Sequence[str] = ()) -> Callable[[State], None]:
    """Return what refuses a cluster that does not exist, or is in none of `states` when some are given."""

    def refuse(state: State) -> None:
        cluster = state.cluster(name)
        if unfinished := state.unfinished(name):
            raise UsageError(f"{unfinished.kind} of cluster {name!r} was interrupted", hint=_ways_on(name, unfinished))
        # What failed a check can be mended, or used as far as it works.
        suitable = {*states, *WORKING} if "ready" in states else set(states)
        if states and cluster.state not in suitable:
            newest = state.newest_change(name)
            raise UsageError(
                f"cluster {name!r} is {cluster.state}, not {' or '.join(states)}",
                hint=f"cm cluster start {name}" if cluster.state == "stopped" else _ways_on(name, newest),
            )

    return refuse


def _ways_on(name: str, operation: Operation | None) -> str:
    """Return what to type on a cluster of which an operation has not ended well, and what that would do."""
    if operation is None or operation.state not in RESUMABLE:
        return f"cm cluster history {name}"
    if operation.kind == "delete":
        return f"cm cluster resume {name} goes on deleting it, as cm cluster delete {name} does"
    return f"cm cluster resume {name} goes on with its {operation.kind}, cm cluster delete {name} removes the cluster"


def require_running(home: Home, name: str, *, states: Sequence[str] = ()) -> Callable[[State], None]:
    """Return what refuses a cluster as `require_cluster` does, and one of which a node does not run."""

    def refuse(state: State) -> None:
        require_cluster(name, states=states)(state)
        refuse_dead(home, state, name, state.cluster(name).nodes)

    return refuse


def require_any_running(home: Home, name: str, *, states: Sequence[str] = ()) -> Callable[[State], None]:
    """Return what refuses a cluster as `require_cluster` does, and one of which no node runs."""

    def refuse(state: State) -> None:
        require_cluster(name, states=states)(state)
        refuse_stopped(home, state, name, state.cluster(name).nodes)

    return refuse


def refuse_stopped(home: Home, state: State, name: str, nodes: Sequence[Node]) -> None:
    """Raise when none of some nodes runs, whatever the journal says: nobody would answer.

    Raises:
        UsageError: says which nodes, and how to start them.

    """
    if len(_dead(home, state, name, nodes)) == len(nodes):
        raise UsageError(_not_running(nodes), hint=f"cm cluster start {name}")


def refuse_dead(home: Home, state: State, name: str, nodes: Sequence[Node]) -> None:
    """Raise when one of some nodes does not run that must all take part.

    Raises:
        UsageError: says which nodes, and how to start or replace them.

    """
    refuse_stopped(home, state, name, nodes)
    if dead := _dead(home, state, name, nodes):
        hint = f"cm cluster start {name}, or cm cluster replace {name} {dead[0].short_name}"
        raise UsageError(_not_running(dead), hint=hint)


def refuse_harm(home: Home, state: State, name: str, nodes: Sequence[str]) -> None:
    """Raise when some nodes can't come, go or be made anew without harm to the others.

    Raises:
        InvalidInput: says which others, why, and what to do about it.

    """
    record = state.record(name)
    if problems := provider_of(home, record.provider_type, record.provider_settings).obstacles(name, nodes):
        raise InvalidInput(problems)


def _dead(home: Home, state: State, name: str, nodes: Sequence[Node]) -> list[Node]:
    record = state.record(name)
    now = provider_of(home, record.provider_type, record.provider_settings).states(name)
    return [node for node in nodes if now.get(node.name) != "running"]


def _not_running(nodes: Sequence[Node]) -> str:
    return f"{fold(node.name for node in nodes)} {'is' if len(nodes) == 1 else 'are'} not running"
