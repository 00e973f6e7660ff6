"""Calls in batches: enough of them to spread well, few enough that handing them out costs little."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from cloudmesh_cluster.core.errors import CallFailed
from cloudmesh_cluster.maps.calls import Batch

# Of batches for each core: those that end last keep the others waiting for a thirtieth of the time at most.
PER_CORE = 32


def batches_of(arguments: Sequence[Any], *, cores: int, per_core: int = PER_CORE) -> list[Batch]:
    """Cut arguments into batches of one size, in order; with few arguments each is a batch of its own.

    Args:
        arguments: all of them.
        cores: how many calls can run at a time.
        per_core: how many batches there shall be for each core.

    """
    size = max(1, -(-len(arguments) // (max(1, cores) * per_core)))
    return [(start, arguments[start : start + size]) for start in range(0, len(arguments), size)]


def flat(results: Iterable[Sequence[Any]]) -> list[Any]:
    """Return the results of all batches as one list."""
    return [result for batch in results for result in batch]


def raise_failure(told: tuple[object, ...], arguments: Sequence[Any], error: Exception | None = None) -> NoReturn:
    """Raise which argument failed, caused by what the function raised.

    Args:
        told: what a batch says of a failure.
        arguments: all of them.
        error: what is raised when `told` is something else; then it comes from the back end.

    Raises:
        CallFailed: always, but for the errors of back ends.

    """
    match told:
        case ("call failed", int(index), bytes(packed), str(text), str(trace)):
            cause = _unpickled(packed) or RuntimeError(text)
            failed = CallFailed(index, arguments[index], cause, trace)
            failed.add_note(f"where it was called:\n{trace}")
            raise failed from cause
    raise error or RuntimeError(*told)


def _unpickled(packed: bytes) -> BaseException | None:
    try:
        cause = pickle.loads(packed)  # noqa: S301  (from our own workers)
    except Exception:  # noqa: BLE001  (a class that only the worker knows: its text stands for it)
        return None
    return cause if isinstance(cause, BaseException) else None
