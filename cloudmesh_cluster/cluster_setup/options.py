"""Options that Dask and Spark share, refused before anything is started."""

from __future__ import annotations

import re

from cloudmesh_cluster.core.errors import InvalidOption

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b?)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for ending, base in (("b", 1000), ("ib", 1024), ("i", 1024), ("", 1024))
}


def check_ports(**ports: int | None) -> None:
    """Look at ports; None and 0 are "none" and "any".

    Raises:
        InvalidOption: one is no port (a `ValueError`).

    """
    for name, port in ports.items():
        if port is not None and not 0 <= port <= 65535:
            raise InvalidOption(f"{name}={port} is no port", hint="ports are 1 to 65535")


def check_cores(num_cores: int | None) -> None:
    """Look at a number of cores.

    Raises:
        InvalidOption: it is none.

    """
    if num_cores is not None and num_cores < 1:
        raise InvalidOption(f"num_cores={num_cores!r}: expected a whole number from 1")


def mebibytes(size: int | str) -> int:
    """Return a size in MiB; 0 is what the system itself thinks right.

    Args:
        size: bytes; or a number with a unit, where GB are powers of 1000 and GiB of 1024; or "auto".

    Raises:
        InvalidOption: it is none of these, or less than 1 MiB.

    """
    if size in ("auto", 0, "0"):
        return 0
    match = _SIZE.fullmatch(str(size).strip())
    count = int(float(match[1]) * _UNITS[match[2].lower()] / 2**20) if match else 0
    if count < 1:
        raise InvalidOption(f"max_memory={size!r} is no size from 1 MiB", hint='bytes, "5GB", "512MiB" or "auto"')
    return count
