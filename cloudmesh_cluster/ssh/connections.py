"""The nodes of a cluster over SSH: commands, files and tunnels."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property, partial
from pathlib import Path

import asyncssh

from cloudmesh_cluster.core.errors import Unreachable, UsageError
from cloudmesh_cluster.core.files import is_written_through
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.ssh.command import Command, OnLine, command_line, framed
from cloudmesh_cluster.ssh.files import fetch_line, push_line, refuse_unreadable
from cloudmesh_cluster.ssh.logins import Logins
from cloudmesh_cluster.ssh.loopback import uid_of_peer

__all__ = ["Connections", "OnLine", "command_line"]

_LOOPBACK = "127.0.0.1"
_RECONNECT = 10.0
_END = 15.0  # seconds to kill a command on a node
_PUSH_WINDOW = 16
_CHANNELS = 8  # at once on a connection; sshd takes 10, and two are spared for killing


class Connections(Logins):
    """What is done on nodes; each is logged in to when it is first needed."""

    @cached_property
    def _pushes(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(_PUSH_WINDOW)

    @cached_property
    def _channels(self) -> defaultdict[str, asyncio.Semaphore]:
        return defaultdict(partial(asyncio.Semaphore, _CHANNELS))

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
        """Run a shell line on all nodes in parallel; return their answers in the order of `nodes`."""
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
        """Copy a regular file of a node to a new local file, whole or not at all, or through a link, device or pipe.

        Raises:
            UsageError: the local file exists already.

        """
        line = fetch_line(remote)
        if is_written_through(local):
            with local.open("wb") as file:
                command = Command(stdout=file.write)
                return await self._run(node, line, command, sudo=sudo, stdin=None, timeout=timeout)
        partial = local.with_name(f".{local.name}.{os.getpid()}.part")
        try:
            with partial.open("xb") as file:
                command = Command(stdout=file.write)
                result = await self._run(node, line, command, sudo=sudo, stdin=None, timeout=timeout)
            if result.ok:
                os.link(partial, local)  # fails where a rename would overwrite
        except FileExistsError as error:
            raise UsageError(f"{local} exists already: nothing is overwritten") from error
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        return result

    async def forward(
        self, node: Node, port: int, refused: Callable[[int | None], None] = lambda uid: None
    ) -> asyncssh.SSHListener:
        """Carry this user's connections from a free port of the loopback to a port of a node's private address.

        Args:
            node: the node.
            port: a TCP port that it serves.
            refused: called with the id of another user who tried to connect; None when it can't be known any more.

        Raises:
            Unreachable: the node, or nothing at that port.

        """
        await self.connect(node, within=_RECONNECT)
        here: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def accept(address: str, peer: int) -> bool:
            allowed, uid = _is_own((address, peer), (_LOOPBACK, await here))
            if not allowed:
                refused(uid)
            return allowed

        try:
            _, writer = await self._open[node.name].open_connection(node.private_ip, port)
            writer.close()
            listener = await self._open[node.name].forward_local_port(_LOOPBACK, 0, node.private_ip, port, accept)
        except asyncssh.ChannelOpenError as error:
            raise Unreachable(node.name, f"nothing answers at port {port} ({error.reason})") from error
        here.set_result(listener.get_port())
        return listener

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
        root, sudo = sudo, sudo and self._user != "root"
        exit_status, reason = -1, ""
        try:
            async with asyncio.timeout(timeout):
                await self.connect(node, within=_RECONNECT)
                await self._perform(node, framed(line, root=root, sudo=sudo), command, stdin)
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
        async with self._channels[node.name]:
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


def _is_own(peer: tuple[str, int], listening: tuple[str, int]) -> tuple[bool, int | None]:
    """Return whether a connection comes from this user, or this system can't tell; and from whom."""
    try:
        uid = uid_of_peer(peer, listening)
    except FileNotFoundError:
        return True, None
    return uid == os.getuid(), uid


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
