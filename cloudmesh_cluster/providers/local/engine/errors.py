"""The one error of the node engine, which knows nothing of the rest of the package."""

from __future__ import annotations


class EngineError(Exception):
    """Something that the engine could not do.

    Args:
        message: what failed and why, as one line (or a few, with the end of a log).
        hint: what to do about it; may be empty.

    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def no_space(detail: str) -> EngineError:
    """Return the error of a full disk."""
    return EngineError(f"no space left on device: {detail}", "free some space, or set CM_CACHE to a larger disk")
