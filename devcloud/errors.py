"""How devcloud says what went wrong."""

from __future__ import annotations


class DevcloudError(Exception):
    """Something that keeps devcloud from its work.

    Args:
        message: what and where.
        hint: what to do about it.

    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
