"""One call after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cloudmesh_cluster.core.errors import CallFailed


def collect(lazily: Callable[[list[Any]], Iterator[Any]], argument_list: Iterable[Any]) -> list[Any]:
    """Return what a lazy map yields.

    Args:
        lazily: takes the arguments, and yields a result for each.
        argument_list: consumed once.

    Raises:
        CallFailed: the function failed; it says for which argument.

    """
    arguments = list(argument_list)
    results: list[Any] = []
    try:
        for result in lazily(arguments):
            results.append(result)  # one by one: how many there are says which argument failed
    except (Exception, SystemExit) as error:  # the user's function may raise anything; raised again, with the argument
        if len(results) == len(arguments):
            raise  # what came after the last call is no argument's fault
        raise CallFailed(len(results), arguments[len(results)], error) from error
    return results
