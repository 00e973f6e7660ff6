"""Calls on the workers of a scheduler to which `cluster_setup.dask` or `cluster_setup.spark` is connected.

Without a connection they raise a `ConnectionError` that names the three steps. Many small calls travel together; where
workers need libraries, those are the same everywhere, but this package need not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from cloudmesh_cluster.maps import distributed

R = TypeVar("R")


def dask(function: Callable[..., R], argument_list: Iterable[Iterable[Any]]) -> list[R]:
    """Call a function for each tuple of arguments on the workers of Dask."""
    return distributed.dask(function, argument_list, star=True)


def spark(function: Callable[..., R], argument_list: Iterable[Iterable[Any]]) -> list[R]:
    """Call a function for each tuple of arguments on the workers of Spark."""
    return distributed.spark(function, argument_list, star=True)
