"""What runs where the calls are: on other processes and on nodes.

Nodes need not have this package: the functions below travel by value, so they use nothing but the standard library,
and import it themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Batch = tuple[int, Sequence[Any]]  # the index of the first argument, and the arguments


def call_batch(function: Callable[..., Any], star: bool, batch: Batch) -> list[Any]:
    """Call a function for each argument of a batch.

    A failure is raised as a plain RuntimeError, which holds the index, what was raised (as text if it can't travel) and
    the traceback: exceptions of other classes may lose on the way what they know.

    Args:
        function: what to call.
        star: whether each argument is a tuple of arguments.
        batch: the arguments.

    """
    start, arguments = batch
    results: list[Any] = []
    try:
        for argument in arguments:
            results.append(function(*argument) if star else function(argument))
    except Exception as error:  # noqa: BLE001  (raised again below, in a form that travels)
        import pickle
        import traceback

        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301  (our own pickle)
            travels: Exception = error.with_traceback(None)
        except Exception:  # noqa: BLE001  (runs the exception's own code, which may do anything)
            travels = RuntimeError(f"{type(error).__name__}: {error}")
        raise RuntimeError("call failed", start + len(results), travels, trace) from None
    return results


def answer_batch(function: Callable[..., Any], star: bool, batch: Batch) -> tuple[list[Any], tuple[Any, ...]]:
    """Do the same, but return a failure as the second part: Spark would try again, and lose what was raised."""
    try:
        return call_batch(function, star, batch), ()
    except RuntimeError as error:
        return [], error.args
