"""What an operation on an existing cluster refuses before it writes anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cloudmesh_cluster.errors import UsageError
from cloudmesh_cluster.state import State


def require_cluster(name: str, *, states: Sequence[str] = ()) -> Callable[[State], None]:
    """Return what refuses a cluster that does not exist, or is in none of `states` when some are given."""

    def refuse(state: State) -> None:
        cluster = state.cluster(name)
        if unfinished := state.unfinished(name):
            raise UsageError(
                f"{unfinished.kind} of cluster {name!r} was interrupted",
                hint=f"cm cluster resume {name}, or cm cluster delete {name}",
            )
        if states and cluster.state not in states:
            raise UsageError(
                f"cluster {name!r} is {cluster.state}, not {' or '.join(states)}",
                hint=f"cm cluster resume {name}, or cm cluster delete {name}",
            )

    return refuse
