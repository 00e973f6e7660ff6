"""Calls on the workers of a scheduler to which `cluster_setup.dask` or `cluster_setup.spark` is connected.

Without a connection they raise a `ConnectionError` that names the three steps. Many small calls travel together; where
workers need libraries, those are the same everywhere, but this package need not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from cloudmesh_cluster.maps import distributed

T = TypeVar("T")
R = TypeVar("R")


def dask(function: Callable[[T], R], argument_list: Iterable[T]) -> list[R]:
    """Call a function for each argument on the workers of Dask."""
    return distributed.dask(function, argument_list, star=False)


def spark(function: Callable[[T], R], argument_list: Iterable[T]) -> list[R]:
    """Call a function for each argument on the workers of Spark."""
    return distributed.spark(function, argument_list, star=False)
