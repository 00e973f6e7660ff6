"""Calls on the workers of a Dask or Spark scheduler, through the connection that `cluster_setup` holds."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

from cloudmesh_cluster import cluster_setup
from cloudmesh_cluster.cluster_setup.address import not_connected
from cloudmesh_cluster.maps import calls
from cloudmesh_cluster.maps.batches import batches_of, flat, raise_failure

TASKS_PER_CORE = 4  # Spark's own advice: a task costs it some milliseconds


class _Work:
    """A batch whose calls are made where its pickle is read.

    So all that the scheduler sees are bytes, and a function of the standard library. What it has to unpickle for itself
    must be importable there, and on a worker that lacks a library it would never end.
    """

    def __init__(self, function: Callable[..., Any], star: bool, batch: calls.Batch) -> None:
        self.parts = (function, star, batch)

    def __reduce__(self) -> tuple[Callable[..., list[Any]], tuple[Any, ...]]:
        return calls.call_batch, self.parts


def dask(function: Callable[..., Any], argument_list: Iterable[Any], *, star: bool) -> list[Any]:
    """Call a function for each argument on the workers of Dask, and return the results in order.

    Args:
        function: what to call.
        argument_list: consumed once.
        star: whether each argument is a tuple of arguments.

    Raises:
        CallFailed: the function failed; it says for which argument.
        ConnectionError: there is no connection, or it was lost; it says what to do.

    """
    client = cluster_setup.dask.connection()
    arguments = list(argument_list)
    import cloudpickle

    cloudpickle.register_pickle_by_value(calls)
    batches = batches_of(arguments, cores=sum(client.nthreads().values()))
    work = [cloudpickle.dumps(_Work(function, star, batch)) for batch in batches]
    jobs = client.map(pickle.loads, work, pure=False, key="cm-map")
    try:
        return flat(client.gather(jobs))
    except CancelledError as error:
        lost = "the connection to the Dask scheduler was lost before all calls had ended"
        raise not_connected("Dask", lost) from error
    except BaseException as error:  # Ctrl-C, too; raised again
        # A failure, or the user's interrupt: nobody waits for the rest, which the cluster would go on with.
        client.cancel(jobs)
        if isinstance(error, RuntimeError):
            raise_failure(error.args, arguments, error)
        raise


def spark(function: Callable[..., Any], argument_list: Iterable[Any], *, star: bool) -> list[Any]:
    """Call a function for each argument on the workers of Spark, and return the results in order.

    Args:
        function: what to call.
        argument_list: consumed once.
        star: whether each argument is a tuple of arguments.

    Raises:
        CallFailed: the function failed; it says for which argument.
        ConnectionError: there is no connection; it says what to do.

    """
    context = cluster_setup.spark.connection()
    arguments = list(argument_list)
    batches = batches_of(arguments, cores=context.defaultParallelism, per_core=TASKS_PER_CORE)
    if not batches:
        return []
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(calls)
    answers = context.parallelize(batches, len(batches)).map(partial(calls.answer_batch, function, star)).collect()
    for _, failure in answers:
        if failure:
            raise_failure(failure, arguments)
    return flat(results for results, _ in answers)
