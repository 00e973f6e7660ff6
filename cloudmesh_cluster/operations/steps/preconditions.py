"""What an operation on an existing cluster refuses before it writes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cloudmesh_cluster.core.errors import InvalidInput, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.targets import fold
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.providers.base import Change, ChangeKind
from cloudmesh_cluster.state.records import RESUMABLE, WORKING, Operation
from cloudmesh_cluster.state.store import State

MISSING = "missing"
LOST = (MISSING, "failed")
"""States of nodes that no start can mend."""


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
    dead = _dead(home, state, name, nodes)
    if len(dead) == len(nodes):
        raise UsageError(_not_running(dead), hint=f"cm cluster start {name}")


def refuse_dead(home: Home, state: State, name: str, nodes: Sequence[Node]) -> None:
    """Raise when one of some nodes does not run that must all take part.

    Raises:
        UsageError: says which nodes, and how to start or replace them.

    """
    refuse_stopped(home, state, name, nodes)
    if dead := _dead(home, state, name, nodes):
        lost = [node.short_name for node, now in dead.items() if now in LOST]
        hint = f"cm cluster replace {name} {lost[0]}" if lost else f"cm cluster start {name}"
        raise UsageError(_not_running(dead), hint=hint)


def refuse_obstacles(
    home: Home,
    state: State,
    name: str,
    kind: ChangeKind,
    *,
    goes: Sequence[str] = (),
    comes: Sequence[Node] = (),
) -> None:
    """Raise when a cluster can't be changed as it is now, or not without harm to the nodes that stay.

    Args:
        home: whose cluster.
        state: of that home.
        name: the cluster's.
        kind: what is to be done.
        goes: the names of the nodes that are destroyed.
        comes: the nodes that are made.

    Raises:
        InvalidInput: says what is in the way, and what to do about it.

    """
    record, nodes = state.record(name), state.cluster(name).nodes
    changed = {*goes, *(node.name for node in comes)}
    change = Change(
        kind=kind,
        cluster=name,
        stays=tuple(node for node in nodes if node.name not in changed),
        goes=tuple(node for node in nodes if node.name in goes),
        comes=tuple(comes),
        profile=record.profile if comes else None,
    )
    if problems := provider_of(home, record.provider_type, record.provider_settings).obstacles(change):
        raise InvalidInput(problems)


def _dead(home: Home, state: State, name: str, nodes: Sequence[Node]) -> dict[Node, str]:
    """Return the states of those of some nodes that do not run."""
    record = state.record(name)
    now = provider_of(home, record.provider_type, record.provider_settings).states(name)
    return {node: now.get(node.name, MISSING) for node in nodes if now.get(node.name) != "running"}


def _not_running(dead: Mapping[Node, str]) -> str:
    """Return which nodes do not run, and what they do instead."""
    words = f"{fold(node.name for node in dead)} {'is' if len(dead) == 1 else 'are'} not running"
    return f"{words} ({', '.join(dict.fromkeys(dead.values()))})"
