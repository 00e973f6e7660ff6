"""Calls on the cores of this machine, in other processes.

`num_cores` is how many processes there are; as many as this process may use cores if not given. Function, arguments and
results travel between processes, so they must be something that pickle can take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from cloudmesh_cluster.maps import parallel

T = TypeVar("T")
R = TypeVar("R")


def dask(function: Callable[[T], R], argument_list: Iterable[T], num_cores: int | None = None) -> list[R]:
    """Call a function for each argument in Dask's processes, without a scheduler."""
    return parallel.run(parallel.dask, function, argument_list, num_cores, star=False)


def futures(function: Callable[[T], R], argument_list: Iterable[T], num_cores: int | None = None) -> list[R]:
    """Call a function for each argument in the processes of `concurrent.futures`."""
    return parallel.run(parallel.futures, function, argument_list, num_cores, star=False)


def joblib(function: Callable[[T], R], argument_list: Iterable[T], num_cores: int | None = None) -> list[R]:
    """Call a function for each argument in the processes of joblib."""
    return parallel.run(parallel.joblib, function, argument_list, num_cores, star=False)


def multiprocessing(function: Callable[[T], R], argument_list: Iterable[T], num_cores: int | None = None) -> list[R]:
    """Call a function for each argument in a pool of `multiprocessing`."""
    return parallel.run(parallel.multiprocessing, function, argument_list, num_cores, star=False)
