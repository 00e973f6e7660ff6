"""Trying again: growing pauses between attempts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

_FIRST, _LONGEST = 0.1, 1.0


async def pauses(deadline: float) -> AsyncIterator[None]:
    """Yield at once, then after growing pauses until `deadline`, by `time.monotonic()`, has passed; at least once."""
    pause = _FIRST
    yield
    while (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST)
        yield
