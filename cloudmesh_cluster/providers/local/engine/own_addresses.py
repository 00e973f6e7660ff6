"""The IPv4 addresses of this machine, as they are now: a watch that goes on from within the nodes' network."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_GET_ADDRESSES = 22
_NEW_ADDRESS = 20
_ERROR = 2
_DONE = 3
_REQUEST_ALL = 0x301
_OF_IPV4_ADDRESSES = 0x10
_LOCAL = 2
_LARGEST = 1 << 18


class OwnAddresses:
    """The addresses of the network namespace in which this object is made, wherever the process goes afterwards."""

    def __init__(self) -> None:
        # A socket keeps the namespace that it was made in.
        self._changes = _socket(groups=_OF_IPV4_ADDRESSES)
        self._questions = _socket(groups=0)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when an address comes or goes."""
        return self._changes.fileno()

    def now(self) -> list[str]:
        """Return all addresses, without prefixes, and take note of all changes so far.

        Raises:
            OSError: the kernel does not answer.

        """
        self._take_note()
        question = _HEADER.pack(_HEADER.size + _ADDRESS.size, _GET_ADDRESSES, _REQUEST_ALL, 1, 0)
        self._questions.send(question + _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0))
        found: set[str] = set()
        while True:
            for kind, body in _messages(self._questions.recv(_LARGEST)):
                if kind == _DONE:
                    return sorted(found)
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    raise OSError(number, os.strerror(number), "netlink")
                if kind == _NEW_ADDRESS:
                    found.update(_local(body))

    def _take_note(self) -> None:
        while True:
            try:
                self._changes.recv(_LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # More changes than the queue holds: all are asked for next anyway.
                    raise


def _socket(*, groups: int) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    made.bind((0, groups))
    return made


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _local(body: bytes) -> Iterator[str]:
    rest = body[_ADDRESS.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if kind == _LOCAL:
            yield socket.inet_ntoa(rest[_ATTRIBUTE.size : length])
        rest = rest[(length + 3) & ~3 :]
