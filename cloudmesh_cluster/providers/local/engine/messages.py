"""Requests and answers between the client and the holder: one JSON object a message, with file descriptors."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

_LARGEST = 128 * 1024
_MOST_DESCRIPTORS = 16

Message = dict[str, Any]


def send(channel: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message on a SOCK_SEQPACKET socket, and open file descriptors along with it."""
    socket.send_fds(channel, [json.dumps(message).encode()], descriptors)


def receive(channel: socket.socket) -> tuple[Message, list[int]]:
    """Receive one message with its file descriptors, which the caller closes.

    Raises:
        EOFError: the other side has closed.

    """
    data, descriptors, _, _ = socket.recv_fds(channel, _LARGEST, _MOST_DESCRIPTORS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # Python 3.11 ignores the flags of recv_fds.
    if not data:
        raise EOFError("the other side has closed the connection")
    return json.loads(data), descriptors
