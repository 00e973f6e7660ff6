"""Calls on the cores of this machine, in other processes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cluster_setup.options import check_cores
from cloudmesh_cluster.core.errors import LibraryMissing
from cloudmesh_cluster.maps.batches import batches_of, flat, raise_failure
from cloudmesh_cluster.maps.calls import Batch, call_batch, unpickle_and_call

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

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
    # Batches are hidden from Dask, which would look for its own collections in them.
    jobs = [delayed(partial(call, batch), pure=False, traverse=False)() for batch in batches]
    with _pool(cores) as executor, config.set(pool=executor):
        results: tuple[list[Any], ...] = compute(*jobs, scheduler="processes")
    return results


def futures(call: Call, batches: Sequence[Batch], cores: int) -> Iterable[list[Any]]:
    """The standard library's process pool of `concurrent.futures`."""
    # The pool of Python 3.11 waits for ever after something that can't be pickled (CPython issue 116685): not here.
    work = [pickle.dumps((call, batch)) for batch in batches]
    with _pool(cores) as executor:
        return list(executor.map(unpickle_and_call, work))


@contextmanager
def _pool(cores: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes, which end with the block; after a failure or an interrupt, immediately."""
    from concurrent.futures import ProcessPoolExecutor

    executor = ProcessPoolExecutor(max_workers=cores)
    try:
        yield executor
    except BaseException:  # Ctrl-C, too, must not wait for calls that run; raised again
        for process in list((executor._processes or {}).values()):  # public only since Python 3.14
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def joblib(call: Call, batches: Sequence[Batch], cores: int) -> Iterable[list[Any]]:
    """Joblib, with its own processes, which end with the call."""
    try:
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor
    except ImportError as error:
        raise LibraryMissing("joblib", "dask") from error
    try:
        results: list[list[Any]] = Parallel(n_jobs=cores, backend="loky")(delayed(call)(x) for x in batches)
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
    return results


def multiprocessing(call: Call, batches: Sequence[Batch], cores: int) -> Iterable[list[Any]]:
    """The standard library's process pool of `multiprocessing`."""
    from multiprocessing import Pipe, Pool, active_children

    others = set(active_children())
    ended, end = Pipe(duplex=False)

    def over(result: object) -> None:
        end.send(None)

    with Pool(processes=cores) as pool:
        workers = [process for process in active_children() if process not in others]
        result = pool.map_async(call, batches, chunksize=1, callback=over, error_callback=over)
        _wait(ended, workers)
        return result.get()


def _wait(ended: Connection, workers: Sequence[BaseProcess]) -> None:
    """Wait for the end of all calls; a pool of `multiprocessing` does not notice that one of its processes died."""
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing.connection import wait

    if ended not in wait([ended, *(worker.sentinel for worker in workers)]):
        raise BrokenProcessPool("a process of the pool ended before its call did; is there memory enough?")
