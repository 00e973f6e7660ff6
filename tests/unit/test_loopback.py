"""Whose connections to this machine's loopback are: real sockets, of this user and of another one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from cloudmesh_cluster.ssh.loopback import uid_of_peer

NOBODY = 65534
CONNECT = "import socket, sys; peer = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"
THROUGH_IPV6 = """import socket, sys
peer = socket.socket(socket.AF_INET6)
peer.connect(('::ffff:127.0.0.1', int(sys.argv[1])))
sys.stdin.read()"""


def uid_of_program(program: str, **options: int) -> int | None:
    """Return whose a connection is that a Python program makes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = server.getsockname()
        words = [sys.executable, "-I", "-c", program, str(here[1])]
        with subprocess.Popen(words, stdin=subprocess.PIPE, **options) as process:  # type: ignore[call-overload]
            accepted, peer = server.accept()
            with accepted:
                uid = uid_of_peer(peer, here)
            process.stdin.close()
    return uid


@pytest.mark.parametrize("program", [CONNECT, THROUGH_IPV6], ids=["IPv4", "IPv4 in IPv6, as Java does"])
def test_a_connection_of_ones_own_has_ones_own_id(program: str) -> None:
    """Whichever kind of socket it is made with."""
    assert uid_of_program(program) == os.getuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_connection_of_another_user_has_that_users_id() -> None:
    """It is the kernel that says so, not the process."""
    assert uid_of_program(CONNECT, user=NOBODY, group=NOBODY, extra_groups=[]) == NOBODY  # type: ignore[arg-type]


def test_a_connection_whose_end_is_closed_is_nobodys() -> None:
    """Its socket has the user id 0 by then, and must not pass for root's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        client.sendall(b"POST / HTTP/1.0\r\n\r\n")
        accepted, peer = server.accept()
        with accepted:
            client.close()
            time.sleep(0.05)
            assert uid_of_peer(peer, server.getsockname()) is None
