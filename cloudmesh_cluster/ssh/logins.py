"""Logging in to nodes over SSH: one connection per node, kept open, its host key pinned.

Neither the user's SSH configuration nor an agent has a say here: what reaches a node is the cluster's own login key,
and only a node whose host key is known is talked to.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import asyncssh

from cloudmesh_cluster.core.errors import HostKeyMismatch, LoginDenied, Unreachable
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.pauses import pauses
from cloudmesh_cluster.nodes.hosts import host_key_alias

Dial = Callable[[Node], Awaitable[socket.socket]]

_ATTEMPT = 30.0  # seconds for one login; a node may be busy booting


class Logins:
    """Open SSH connections to nodes, made when they are first needed; an async context manager.

    Args:
        dial: returns a connected socket to a node's SSH server, or raises OSError.
        user: the login user.
        login_key: the private half of the cluster's login key.
        host_keys: known host keys by node name; `pin` adds more.
        via: returns the node through whose SSH server a node is reached, None for those that `dial` reaches.
        window: how many logins may be under way at once.

    """

    def __init__(
        self,
        dial: Dial,
        *,
        user: str,
        login_key: bytes,
        host_keys: Mapping[str, Sequence[str]] | None = None,
        via: Callable[[Node], Node | None] = lambda node: None,
        window: int = 32,
    ) -> None:
        self._dial = dial
        self._via = via
        self._user = user
        self._login_key = asyncssh.import_private_key(login_key)
        self._host_keys: dict[str, tuple[str, ...]] = {n: tuple(keys) for n, keys in (host_keys or {}).items()}
        self.used = False
        """Whether a node was ever logged in to."""
        self._open: dict[str, asyncssh.SSHClientConnection] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._logins = asyncio.Semaphore(window)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; one that is needed again is made again."""
        connections = list(self._open.values())
        self._open.clear()
        for connection in connections:
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.gather(*(c.wait_closed() for c in connections), return_exceptions=True)

    def pin(self, node: Node, keys: Sequence[str]) -> None:
        """Set a node's host keys (`ssh-ed25519 AAAA...`); no other is accepted from now on."""
        self._host_keys[node.name] = tuple(keys)

    async def shown_host_key(self, node: Node, *, within: float) -> tuple[str, str]:
        """Return the host key that a node shows, whoever it is, and its fingerprint; it is told nothing.

        Raises:
            Unreachable: nobody has answered in `within` seconds.

        """
        reason = "it shows no host key"
        async for _ in pauses(time.monotonic() + within):
            try:
                async with self._logins, asyncio.timeout(_ATTEMPT):
                    way = await self._way_to(node)
                    key = await asyncssh.get_server_host_key(node.private_ip, **way, config=None)
                if key is not None:
                    return key.export_public_key().decode().strip(), key.get_fingerprint()
            except (OSError, asyncssh.Error) as error:
                reason = str(error) or type(error).__name__
        raise Unreachable(node.name, f"{reason} (tried for {within:.0f} s)")

    async def connect(self, node: Node, *, within: float = 60.0, login_grace: float = 0.0) -> None:
        """Connect to a node, if there is no open connection; try again while it doesn't answer.

        Args:
            node: the node; its host key must have been pinned.
            within: seconds in which it may refuse connections, drop them or be silent.
            login_grace: seconds from the first denied login in which the user may still come into being.

        Raises:
            HostKeyMismatch: it is another machine, or no host key is known. At once.
            LoginDenied: the login key is not accepted.
            Unreachable: it did not answer in time.

        """
        async with self._locks.setdefault(node.name, asyncio.Lock()):
            connection = self._open.get(node.name)
            if connection is None or connection.is_closed():
                self._open[node.name] = await self._connected(node, within, login_grace)
                self.used = True

    def is_open(self, node: Node) -> bool:
        """Return whether there is an open connection to a node."""
        connection = self._open.get(node.name)
        return connection is not None and not connection.is_closed()

    async def close_node(self, node: Node) -> None:
        """Close the connection to a node, if there is one."""
        if connection := self._open.pop(node.name, None):
            connection.abort()

    async def lost(self, node: Node) -> None:
        """Wait until the connection to a node is closed, by whomever."""
        await self._open[node.name].wait_closed()

    async def _connected(self, node: Node, within: float, login_grace: float) -> asyncssh.SSHClientConnection:
        deadline = time.monotonic() + within
        denied_since: float | None = None
        async for _ in pauses(deadline):
            try:
                async with self._logins:
                    return await self._login(node)
            except asyncssh.HostKeyNotVerifiable as error:
                raise HostKeyMismatch(node.name, f"its host key is not the pinned one ({error.reason})") from error
            except asyncssh.PermissionDenied as error:
                denied_since = denied_since or time.monotonic()
                if time.monotonic() - denied_since >= login_grace:
                    raise LoginDenied(node.name, f"user {self._user} is not let in ({error.reason})") from error
                reason = f"user {self._user} is not let in ({error.reason})"
            except (OSError, asyncssh.ConnectionLost) as error:
                reason = str(error) or type(error).__name__
            except asyncssh.Error as error:
                raise Unreachable(node.name, error.reason) from error
        raise Unreachable(node.name, f"{reason} (tried for {within:.0f} s)")

    async def _login(self, node: Node) -> asyncssh.SSHClientConnection:
        if not (keys := self._host_keys.get(node.name)):
            raise HostKeyMismatch(node.name, "no host key of it is known")
        async with asyncio.timeout(_ATTEMPT):
            way = await self._way_to(node)
            return await asyncssh.connect(node.private_ip, **way, options=self._options(node, keys))

    async def _way_to(self, node: Node) -> dict[str, Any]:
        """Return how asyncssh gets to a node; it may know the address of neither end, and is always told it."""
        if (gateway := self._via(node)) is None:
            return {"sock": await self._dial(node)}
        await self.connect(gateway, within=_ATTEMPT)
        return {"port": 22, "tunnel": self._open[gateway.name]}

    def _options(self, node: Node, keys: Sequence[str]) -> asyncssh.SSHClientConnectionOptions:
        return asyncssh.SSHClientConnectionOptions(
            username=self._user,
            client_keys=[self._login_key],
            known_hosts=([asyncssh.import_public_key(key) for key in keys], [], []),
            host_key_alias=host_key_alias(node),
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            kex_algs=["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"],
            encryption_algs=["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"],
            compression_algs=["none"],
            x509_trusted_certs=None,
            keepalive_interval=15,
            keepalive_count_max=4,
            login_timeout=_ATTEMPT,
        )
