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

    A failure is raised as a plain RuntimeError, which holds the index, what was raised (pickled, empty if it can't be),
    its text and the traceback: exceptions of other classes may lose on the way what they know. `sys.exit` is a failure
    like any other: it must not end the process that other calls run in.

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
    except (Exception, SystemExit) as error:  # noqa: BLE001  (raised again, in a form that travels)
        import traceback

        trace, text = traceback.format_exc(), f"{type(error).__name__}: {error}"
        raise RuntimeError("call failed", start + len(results), pickled(error), text, trace) from None
    return results


def pickled(error: BaseException) -> bytes:
    """Return an exception as bytes that can be read back; none where its class does not allow that.

    A class of the user's `__main__` has no module here that pickle could name: cloudpickle sends it along.
    """
    import pickle
    from importlib import import_module

    for name in ("pickle", "cloudpickle", "pyspark.cloudpickle"):
        try:
            text: bytes = import_module(name).dumps(error.with_traceback(None))
            pickle.loads(text)  # noqa: S301  (our own pickle)
        except Exception:  # noqa: BLE001, S112  (not there, or the exception's own code, which may raise anything)
            continue
        return text
    return b""


def answer_batch(function: Callable[..., Any], star: bool, batch: Batch) -> tuple[list[Any], tuple[Any, ...]]:
    """Do the same, but return a failure as the second part: Spark would try again, and lose what was raised."""
    try:
        return call_batch(function, star, batch), ()
    except RuntimeError as error:
        return [], error.args


def unpickle_and_call(text: bytes) -> list[Any]:
    """Call what was pickled together with its batch."""
    import pickle

    call, batch = pickle.loads(text)  # noqa: S301  (our own pickle)
    results: list[Any] = call(batch)
    return results
