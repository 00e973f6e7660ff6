"""Calls on the cores of this machine, in other processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from cloudmesh_cluster.cluster_setup.options import check_cores
from cloudmesh_cluster.errors import LibraryMissing
from cloudmesh_cluster.maps.batches import batches_of, flat, raise_failure
from cloudmesh_cluster.maps.calls import Batch, call_batch

Call = Callable[[Batch], list[Any]]
BackEnd = Callable[[Call, Sequence[Batch], int], Iterable[list[Any]]]


def run(
    back_end: BackEnd, function: Callable[..., Any], argument_list: Iterable[Any], num_cores: int | None, *, star: bool
) -> list[Any]:
    """Call a function for each argument, and return the results in order.

    Args:
        back_end: what starts processes and spreads batches over them.
        function: what to call; like arguments and results it must be something that pickle can take.
        argument_list: consumed once.
        num_cores: how many processes; as many as this process may use cores if None.
        star: whether each argument is a tuple of arguments.

    Raises:
        CallFailed: the function failed; it says for which argument.

    """
    check_cores(num_cores)
    arguments = list(argument_list)
    cores = num_cores or len(os.sched_getaffinity(0))
    batches = batches_of(arguments, cores=cores)
    if not batches:
        return []
    try:
        return flat(back_end(partial(call_batch, function, star), batches, min(cores, len(batches))))
    except RuntimeError as error:
        raise_failure(error.args, arguments, error)


def dask(call: Call, batches: Sequence[Batch], cores: int) -> Iterable[list[Any]]:
    """Dask's own processes."""
    try:
        from dask import compute, config, delayed
    except ImportError as error:
        raise LibraryMissing("Dask", "dask") from error
    import multiprocessing

    # Batches are hidden from Dask, which would look for its own collections in them.
    jobs = [delayed(partial(call, batch), pure=False, traverse=False)() for batch in batches]
    # As all of Python does here; Dask's own way would need a guard in the user's main script.
    with config.set({"multiprocessing.context": multiprocessing.get_start_method()}):
        results: tuple[list[Any], ...] = compute(*jobs, scheduler="processes", num_workers=cores)
    return results


def futures(call: Call, batches: Sequence[Batch], cores: int) -> Iterable[list[Any]]:
    """The standard library's process pool of `concurrent.futures`."""
    from concurrent.futures import ProcessPoolExecutor

    executor = ProcessPoolExecutor(max_workers=cores)
    try:
        return list(executor.map(call, batches))
    finally:
        executor.shutdown(cancel_futures=True)  # after a failure nobody wants the rest


def joblib(call: Call, batches: Sequence[Batch], cores: int) -> Iterable[list[Any]]:
    """Joblib, with its processes of `multiprocessing`: they end with the call."""
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise LibraryMissing("joblib", "dask") from error
    results: list[list[Any]] = Parallel(n_jobs=cores, backend="multiprocessing")(delayed(call)(x) for x in batches)
    return results


def multiprocessing(call: Call, batches: Sequence[Batch], cores: int) -> Iterable[list[Any]]:
    """The standard library's process pool of `multiprocessing`."""
    from multiprocessing import Pool

    with Pool(processes=cores) as pool:
        return pool.map(call, batches, chunksize=1)
