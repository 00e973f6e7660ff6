"""Reach the nodes of a cluster: TCP sockets made inside the nodes' network, with no process in between.

Run as a program (`python -I -S dial.py FOLDER ADDRESS PORT`) it is an OpenSSH `ProxyCommand` for use with
`ProxyUseFdpass yes`.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from cloudmesh_cluster.providers.local.engine import messages
from cloudmesh_cluster.providers.local.engine.errors import EngineError

_SOCKET = "engine.sock"
_PATIENCE = 30.0
_PAUSE = 0.01


class NotRunning(EngineError):
    """There is no holder: the cluster is stopped."""


def holder(folder: Path) -> socket.socket:
    """Return a connection to the holder of a cluster's nodes.

    Raises:
        NotRunning: there is none: the cluster is stopped.
        EngineError: it can't be reached.

    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel.settimeout(_PATIENCE)
    try:
        _connect(channel, folder)
    except OSError as error:
        channel.close()
        gone = isinstance(error, (FileNotFoundError, ConnectionRefusedError))
        kind, what = (NotRunning, "are not running") if gone else (EngineError, "can't be reached")
        raise kind(f"the nodes in {folder} {what} ({error.strerror})") from error
    return channel


def _connect(channel: socket.socket, folder: Path) -> None:
    # The name of a unix socket is limited to 107 bytes, a path isn't.
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            try:
                return channel.connect(f"/proc/self/fd/{descriptor}/{_SOCKET}")
            except BlockingIOError:  # Too many want to connect at this moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
    finally:
        os.close(descriptor)


def inner_socket(folder: Path) -> socket.socket:
    """Return a fresh, non-blocking, unconnected TCP socket that lives in the nodes' network.

    Raises:
        EngineError: the cluster is stopped.

    """
    with holder(folder) as channel:
        messages.send(channel, {"do": "socket"})
        _, descriptors = messages.receive(channel)
    inner = socket.socket(fileno=descriptors[0])
    inner.setblocking(False)
    return inner


def connect(folder: Path, address: str, port: int, *, timeout: float = 10.0) -> socket.socket:
    """Return a blocking TCP socket that is connected to a port of a node.

    Args:
        folder: the engine's folder.
        address: the node's address, without prefix.
        port: the TCP port.
        timeout: seconds to wait for the connection.

    Raises:
        EngineError: the cluster is stopped.
        OSError: the node did not answer.

    """
    inner = inner_socket(folder)
    try:
        inner.settimeout(timeout)
        inner.connect((address, port))
        inner.settimeout(None)
    except OSError:
        inner.close()
        raise
    return inner


def proxy_command(folder: Path, address: str, port: int = 22) -> list[str]:
    """Return the words of an OpenSSH `ProxyCommand`, which needs `ProxyUseFdpass yes`."""
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(folder), address, str(port)]


def main(arguments: list[str]) -> int:
    """Pass a socket that is connected to a node to the ssh that has started this program."""
    folder, address, port = arguments
    try:
        inner = connect(Path(folder), address, int(port))
    except (EngineError, OSError) as error:
        sys.stderr.write(f"{address}:{port}: {error}\n")
        return 1
    with socket.socket(fileno=1) as ssh:
        socket.send_fds(ssh, [b"\0"], [inner.fileno()])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
