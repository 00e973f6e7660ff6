"""Which user of this machine a connection to a port of its loopback comes from."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"


def uid_of_peer(peer: tuple[str, int], listening: tuple[str, int]) -> int | None:
    """Return the user id of the process at the other end of a connection; None when there is none any more.

    Args:
        peer: the IPv4 address and port that the connection comes from.
        listening: the IPv4 address and port that it was accepted at.

    Raises:
        FileNotFoundError: this system does not tell (it is no Linux).

    """
    wanted = {(_in_kernel_form(*peer, mapped), _in_kernel_form(*listening, mapped)) for mapped in (False, True)}
    for table in _TABLES:
        if table == _TABLES[1] and not table.exists():  # a kernel without IPv6
            continue
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            # A socket that its process has closed has no inode, and the user id of root.
            if (fields[1], fields[2]) in wanted and fields[9] != "0":
                return int(fields[7])
    return None


def _in_kernel_form(address: str, port: int, mapped: bool) -> str:
    """Return an address as the kernel prints it: words of four bytes, each as a number of this machine."""
    packed = (_IPV4_IN_IPV6 if mapped else b"") + socket.inet_aton(address)
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"
