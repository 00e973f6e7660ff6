"""Work that blocks and can't be cancelled, such as the node engine's, or a request to a cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Callable[..., T], *arguments: Any, hurry: Callable[[], None] = lambda: None) -> T:
    """Run blocking work in a thread; who is cancelled bids it hurry and waits, since an undo must come after it."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        hurry()
        await asyncio.gather(running, return_exceptions=True)
        raise
