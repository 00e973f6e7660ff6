"""Durations and sizes as users write them: `5s`, `2m`, `1h`; `512M`, `2G`."""

from __future__ import annotations

import re

DURATION_FORM = "a number of seconds, or 5s, 2m, 1h"
SIZE_FORM = "a number of MiB, or 512M, 2G"

_DURATION = re.compile(r"((?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?)([smh]?)")
_SIZE = re.compile(r"((?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?)(?:([MGT])(?:i?B)?)?", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_MEBIBYTES = {"m": 1, "g": 1024, "t": 1024 * 1024}
_YEAR = 365 * 24 * 3600


def parse_duration(text: str) -> float:
    """Return the seconds that `text` stands for.

    Raises:
        ValueError: it is no duration, or longer than a year.

    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: expected {DURATION_FORM}")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _YEAR:
        raise ValueError(f"{text!r} is longer than a year")
    return seconds


def parse_size(text: str) -> int:
    """Return the MiB that `text` stands for; units are powers of 1024, a bare number is MiB.

    Raises:
        ValueError: it is no size, or not a whole number of MiB.

    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size: expected {SIZE_FORM}")
    mebibytes = float(match[1]) * _MEBIBYTES[(match[2] or "m").lower()]
    if mebibytes != int(mebibytes):
        raise ValueError(f"{text!r} is not a whole number of MiB")
    return int(mebibytes)


def format_duration(seconds: float) -> str:
    """Return a duration as `parse_duration` reads it: 120.0 is `2m`."""
    for unit in ("h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds / _SECONDS[unit])}{unit}"
    return f"{int(seconds) if seconds == int(seconds) else seconds}s"


def format_size(mebibytes: int) -> str:
    """Return a size as `parse_size` reads it: 2048 is `2G`."""
    return f"{mebibytes // 1024}G" if mebibytes and mebibytes % 1024 == 0 else f"{mebibytes}M"
