"""Numbers with the things that they count."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return "1 worker", or "2 workers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
