"""Tasks of asyncio: run in parallel, or to their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for work that no cancel stops: undoing is what a cancel asks for."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


def innermost(error: BaseException) -> BaseException:
    """Return the one error that task groups wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def together(tasks: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run coroutines in parallel; the first that fails cancels the others.

    Raises:
        CmError: what failed first.

    """
    async with task_group() as group:
        for task in tasks:
            group.create_task(task)


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Yield a task group that raises what failed first, as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except (
        BaseExceptionGroup
    ) as failed:  # callers catch the error itself, which may be a cancel; the group says no more
        raise innermost(failed) from None
