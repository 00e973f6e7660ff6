"""Calls on the cores of this machine, in other processes.

`num_cores` is how many processes there are; as many as this process may use cores if not given. Function, arguments and
results travel between processes, so they must be something that pickle can take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from cloudmesh_cluster.maps import parallel

R = TypeVar("R")


def dask(function: Callable[..., R], argument_list: Iterable[Iterable[Any]], num_cores: int | None = None) -> list[R]:
    """Call a function for each tuple of arguments in Dask's processes, without a scheduler."""
    return parallel.run(parallel.dask, function, argument_list, num_cores, star=True)


def futures(
    function: Callable[..., R], argument_list: Iterable[Iterable[Any]], num_cores: int | None = None
) -> list[R]:
    """Call a function for each tuple of arguments in the processes of `concurrent.futures`."""
    return parallel.run(parallel.futures, function, argument_list, num_cores, star=True)


def joblib(function: Callable[..., R], argument_list: Iterable[Iterable[Any]], num_cores: int | None = None) -> list[R]:
    """Call a function for each tuple of arguments in the processes of joblib."""
    return parallel.run(parallel.joblib, function, argument_list, num_cores, star=True)


def multiprocessing(
    function: Callable[..., R], argument_list: Iterable[Iterable[Any]], num_cores: int | None = None
) -> list[R]:
    """Call a function for each tuple of arguments in a pool of `multiprocessing`."""
    return parallel.run(parallel.multiprocessing, function, argument_list, num_cores, star=True)
