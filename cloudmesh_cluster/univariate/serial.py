"""One call after the other, by all the means of Python; the results are the same."""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from cloudmesh_cluster.maps.serial import collect

T = TypeVar("T")
R = TypeVar("R")


def for_loop(function: Callable[[T], R], argument_list: Iterable[T]) -> list[R]:
    """Call a function for each argument in order, by a loop."""
    return generator_function(function, argument_list)


def generator_function(function: Callable[[T], R], argument_list: Iterable[T]) -> list[R]:
    """Call a function for each argument in order, by a generator."""

    def results(arguments: list[T]) -> Iterator[R]:
        for argument in arguments:
            yield function(argument)

    return collect(results, argument_list)


def generator_expression(function: Callable[[T], R], argument_list: Iterable[T]) -> list[R]:
    """Call a function for each argument in order, by a generator expression."""
    return collect(lambda arguments: (function(argument) for argument in arguments), argument_list)


def list_comprehension(function: Callable[[T], R], argument_list: Iterable[T]) -> list[R]:
    """Call a function for each argument in order, by a comprehension."""
    return collect(lambda arguments: (function(argument) for argument in arguments), argument_list)


def map(  # noqa: A001  (the original's name)
    function: Callable[[T], R], argument_list: Iterable[T]
) -> list[R]:
    """Call a function for each argument in order, by `map`."""
    return collect(lambda arguments: builtins.map(function, arguments), argument_list)


def starmap(function: Callable[[T], R], argument_list: Iterable[T]) -> list[R]:
    """Call a function for each argument in order, by `itertools.starmap`."""
    return collect(lambda arguments: itertools.starmap(function, zip(arguments, strict=True)), argument_list)
