"""The nodes of a cluster over SSH: one connection per node, kept open, its host key pinned.

Neither the user's SSH configuration nor an agent has a say here: what reaches a node is the cluster's own login key,
and only a node whose host key is known is talked to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import asyncssh

from cloudmesh_cluster.errors import HostKeyMismatch, LoginDenied, Unreachable, UsageError
from cloudmesh_cluster.hosts import host_key_alias
from cloudmesh_cluster.model import CommandResult, Node
from cloudmesh_cluster.pauses import pauses
from cloudmesh_cluster.remote_command import Command, OnLine, command_line, framed
from cloudmesh_cluster.remote_files import push_line, refuse_unreadable
from cloudmesh_cluster.resources import resource

__all__ = ["Connections", "Dial", "OnLine", "command_line"]

Dial = Callable[[Node], Awaitable[socket.socket]]

_ATTEMPT = 30.0  # seconds for one login; a node may be busy booting
_RECONNECT = 10.0
_END = 15.0  # seconds to kill a command on a node
_PUSH_WINDOW = 16
_CHANNELS = 8  # at once on a connection; sshd takes 10, and two are spared for killing

class Connections:
    """SSH connections to nodes, made when they are first needed; an async context manager.

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
        self._open: dict[str, asyncssh.SSHClientConnection] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._logins = asyncio.Semaphore(window)
        self._channels: dict[str, asyncio.Semaphore] = {}
        self._pushes = asyncio.Semaphore(_PUSH_WINDOW)

    async def __aenter__(self) -> Connections:
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

    async def close_node(self, node: Node) -> None:
        """Close the connection to a node, if there is one."""
        if connection := self._open.pop(node.name, None):
            connection.abort()

    async def run(
        self,
        node: Node,
        line: str,
        *,
        sudo: bool = False,
        stdin: bytes | Path | None = None,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> CommandResult:
        """Run a shell line on a node and return its answer.

        Args:
            node: the node; it is connected to when it is not yet (within 10 s).
            line: the shell line; see `command_line` for words.
            sudo: run it as root.
            stdin: its input; nothing by default.
            timeout: seconds until it is killed on the node.
            on_line: called with each line of output as it comes.

        A node that can't be reached, a lost connection and a timeout give exit -1, with the reason as the last line
        of stderr. When cancelled, the command is killed on the node.

        Raises:
            UsageError: the input is a file that can't be read.

        """
        if isinstance(stdin, Path):
            refuse_unreadable(stdin)
        return await self._run(node, line, Command(on_line), sudo=sudo, stdin=stdin, timeout=timeout)

    async def run_all(
        self,
        nodes: Iterable[Node],
        line: str,
        *,
        sudo: bool = False,
        stdin: bytes | Path | None = None,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> list[CommandResult]:
        """Run a shell line on all nodes at once; return their answers in the order of `nodes`."""
        return await _all(
            self.run(node, line, sudo=sudo, stdin=stdin, timeout=timeout, on_line=on_line) for node in nodes
        )

    async def push(
        self,
        node: Node,
        source: bytes | Path,
        remote: str,
        *,
        mode: int = 0o644,
        sudo: bool = False,
        timeout: float | None = None,
    ) -> CommandResult:
        """Make a file on a node, whole or not at all; folders above it are made.

        Args:
            node: the node.
            source: the content, or the local file.
            remote: the path on the node, relative to the login user's home; a local file may also go into a folder.
            mode: the permissions of the file.
            sudo: write it as root.
            timeout: seconds.

        Raises:
            UsageError: the local file can't be read.

        """
        line = push_line(source, remote, mode)
        async with self._pushes:
            return await self.run(node, line, sudo=sudo, stdin=source, timeout=timeout)

    async def push_many(
        self,
        nodes: Iterable[Node],
        source: bytes | Path,
        remote: str,
        *,
        mode: int = 0o644,
        sudo: bool = False,
        timeout: float | None = None,
    ) -> list[CommandResult]:
        """Push one file to many nodes; return their answers in the order of `nodes`."""
        return await _all(self.push(node, source, remote, mode=mode, sudo=sudo, timeout=timeout) for node in nodes)

    async def unpack(
        self,
        node: Node,
        source: bytes | Path,
        folder: str,
        *,
        sudo: bool = False,
        timeout: float | None = None,
    ) -> CommandResult:
        """Unpack a tar archive, as `tarball` makes it, into a folder of a node, which is made."""
        target = shlex.quote(folder)
        line = f"set -e; mkdir -p -- {target}; exec tar -x --no-same-owner -C {target}"
        async with self._pushes:
            return await self.run(node, line, sudo=sudo, stdin=source, timeout=timeout)

    async def fetch(
        self, node: Node, remote: str, local: Path, *, sudo: bool = False, timeout: float | None = None
    ) -> CommandResult:
        """Copy a file of a node to a new local file, whole or not at all.

        Raises:
            UsageError: the local file exists already.

        """
        partial = local.with_name(f".{local.name}.{os.getpid()}.part")
        try:
            with partial.open("xb") as file:
                line = f"exec cat -- {shlex.quote(remote)}"
                command = Command(stdout=file.write)
                result = await self._run(node, line, command, sudo=sudo, stdin=None, timeout=timeout)
            if result.ok:
                os.link(partial, local)  # fails where a rename would overwrite
        except FileExistsError as error:
            raise UsageError(f"{local} exists already: nothing is overwritten") from error
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        return result

    async def forward(self, node: Node, port: int) -> asyncssh.SSHListener:
        """Carry connections from a free port of this machine's loopback to a port of a node's private address.

        Raises:
            Unreachable: the node, or nothing at that port.

        """
        await self.connect(node, within=_RECONNECT)
        try:
            _, writer = await self._open[node.name].open_connection(node.private_ip, port)
            writer.close()
            return await self._open[node.name].forward_local_port("127.0.0.1", 0, node.private_ip, port)
        except asyncssh.ChannelOpenError as error:
            raise Unreachable(node.name, f"nothing answers at port {port} ({error.reason})") from error

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

    async def _run(
        self,
        node: Node,
        line: str,
        command: Command,
        *,
        sudo: bool,
        stdin: bytes | Path | None,
        timeout: float | None,
    ) -> CommandResult:
        started = time.monotonic()
        sudo = sudo and self._user != "root"
        exit_status, reason = -1, ""
        try:
            async with asyncio.timeout(timeout):
                await self.connect(node, within=_RECONNECT)
                await self._perform(node, framed(line, sudo=sudo), command, stdin)
            exit_status, reason = -1 if command.exit is None else command.exit, command.reason
        except Unreachable as error:
            reason = error.reason
        except TimeoutError:
            reason = f"timed out after {timeout:g} s"
            await self._end(node, command, sudo=sudo)
        except (ConnectionError, asyncssh.Error) as error:
            reason = f"the connection was lost: {error}"
        except BaseException:  # cancelled, or the input can't be read: the node must not go on either
            await self._end(node, command, sudo=sudo)
            raise
        stderr = command.stderr.text()
        if reason:
            stderr += ("" if not stderr or stderr.endswith("\n") else "\n") + f"{reason}\n"
        return CommandResult(node.name, exit_status, command.stdout.text(), stderr, time.monotonic() - started)

    async def _perform(self, node: Node, line: str, command: Command, stdin: bytes | Path | None) -> None:
        async with self._channels.setdefault(node.name, asyncio.Semaphore(_CHANNELS)):
            channel, _ = await self._open[node.name].create_session(lambda: command, command=line, encoding=None)
            await command.send(channel, stdin)
            await command.wait()

    async def _end(self, node: Node, command: Command, *, sudo: bool) -> None:
        """Kill a command that nobody waits for any more; give up when the node doesn't answer."""
        if command.channel is None or command.ended.is_set():
            return  # it never began, or it is over
        with contextlib.suppress(OSError, asyncssh.Error):
            async with asyncio.timeout(_END):
                await command.started.wait()
                if command.session is not None:
                    await self._kill(node, command.session, sudo=sudo)
                    await command.ended.wait()
        command.channel.abort()

    async def _kill(self, node: Node, session: int, *, sudo: bool) -> None:
        killer = Command()
        line = shlex.join([*(["sudo", "-n"] if sudo else []), "bash", "-s", "--", str(session)])
        channel, _ = await self._open[node.name].create_session(lambda: killer, command=line, encoding=None)
        await killer.send(channel, resource("scripts", "boot", "end-session").read_bytes())


async def _all(answers: Iterable[Awaitable[CommandResult]]) -> list[CommandResult]:
    """Wait for all answers; the first error, or a cancel, cancels the others and waits until they have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_one(answer)) for answer in answers]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _one(answer: Awaitable[CommandResult]) -> CommandResult:
    return await answer
