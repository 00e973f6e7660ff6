"""An operation called from ordinary Python: its event loop runs in a thread of its own while the caller waits.

So it works where a loop runs already, as in a notebook, and in threads that are not the main one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from cloudmesh_cluster.core.errors import Interrupted

T = TypeVar("T")
A_LOOK = 0.2  # seconds between two calls of `meanwhile`


def run(work: Coroutine[Any, Any, T], *, meanwhile: Callable[[], None] = lambda: None) -> T:
    """Run an operation to its end and return what it returns.

    Ctrl-C (in a notebook: interrupting the kernel) makes it stop and clean up after itself. A second one returns at
    once; the cleaning up goes on, and the interpreter does not end before it.

    Args:
        work: the operation.
        meanwhile: called in the caller's thread a few times a second.

    Raises:
        Interrupted: the user stopped it.

    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    over = threading.Event()
    threading.Thread(target=_run_to_end, args=(loop, task, over), name="cm").start()
    _wait(over, lambda: loop.call_soon_threadsafe(task.cancel), meanwhile)
    if task.cancelled():
        raise Interrupted("interrupted")
    return task.result()


def _run_to_end(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any], over: threading.Event) -> None:
    try:
        loop.run_until_complete(asyncio.wait([task]))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
        over.set()


def _wait(over: threading.Event, stop: Callable[[], object], meanwhile: Callable[[], None]) -> None:
    pressed = False
    while not over.is_set():
        try:
            over.wait(A_LOOK)  # not Thread.join: Python 3.11 takes a thread for ended whose join was interrupted
            meanwhile()
        except KeyboardInterrupt:
            if pressed:
                raise
            pressed = True
            with suppress(RuntimeError):  # the loop has just been closed: there is nothing to stop
                stop()
