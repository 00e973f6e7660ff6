"""How the system's ssh would reach a machine: asked of `ssh -G`, so that all of the user's configuration counts."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.model import Machine
from cloudmesh_cluster.providers.baremetal.settings import Settings

_PATIENCE = 20.0
_MUCH = 4096
_PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between attempts, about: a jump host lets few log in at a time (MaxStartups) and turns others away."""
_TURNED_AWAY = re.compile(r"kex_exchange_identification|Connection (closed|reset) by")


@dataclass(frozen=True)
class Route:
    """The way to a machine.

    Args:
        host: as the user wrote it.
        name: what ssh connects to: an address or a name for DNS.
        port: of the SSH server.
        user: who logs in.
        alias: the name of its host key, where the configuration gives one.
        identities: private keys that the configuration names, or that ssh tries anyway.
        identities_only: whether an agent's other keys are not tried.
        agent: the socket of the agent; empty for none.
        known_hosts: the files of known host keys, the user's first.
        program: the shell line of a ProxyCommand, or one that goes through a jump host; empty for a direct connection.
        passes_descriptor: whether that program hands over a connected socket.

    """

    host: str
    name: str
    port: int
    user: str
    alias: str
    identities: tuple[Path, ...]
    identities_only: bool
    agent: str
    known_hosts: tuple[Path, ...]
    program: str
    passes_descriptor: bool

    @property
    def address(self) -> str:
        """The machine's IPv4 address.

        Raises:
            UsageError: its name can't be resolved here.

        """
        try:
            return socket.gethostbyname(self.name)
        except OSError as error:
            what = f"machine {self.host}: {self.name!r} can't be resolved here: {error.strerror}"
            raise UsageError(what, hint="write its address into the profile") from error


def route_to(machine: Machine, settings: Settings) -> Route:
    """Return how the system's ssh would reach a machine.

    Raises:
        UsageError: the configuration has a fault, or there is no ssh.

    """
    words = ["ssh", *_config(settings), "-G", "-l", settings.user, *(["-p", str(machine.port)] if machine.port else [])]
    try:
        done = subprocess.run(
            [*words, "--", machine.host], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise UsageError(f"ssh can't be started: {error.strerror}", hint="install OpenSSH's client") from error
    if done.returncode:
        raise UsageError(f"machine {machine.host}: ssh: {done.stderr.strip()}", hint="correct your SSH configuration")
    return route_of(machine, settings, done.stdout)


def route_of(machine: Machine, settings: Settings, answer: str) -> Route:
    """Return the way to a machine by what `ssh -G` answers.

    Raises:
        UsageError: the answer has a fault.

    """
    found: dict[str, list[str]] = {}
    for line in answer.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)

    def one(key: str, default: str = "") -> str:
        value = found.get(key, [default])[0]
        return default if value == "none" else value

    name, port = one("hostname", machine.host), _port(one("port", "22"))
    tokens = {"%h": name, "%n": machine.host, "%p": str(port), "%r": settings.user, "%%": "%"}
    jump = one("proxyjump")
    program = expanded(one("proxycommand"), tokens)
    if jump:
        program = shlex.join(_through(jump, settings, f"[{name}]:{port}"))
    return Route(
        host=machine.host,
        name=name,
        port=port,
        user=settings.user,
        alias=one("hostkeyalias"),
        identities=tuple(_file(each, tokens) for each in found.get("identityfile", [])),
        identities_only=one("identitiesonly") == "yes",
        agent=_agent(found.get("identityagent", ["SSH_AUTH_SOCK"])[0], tokens),
        known_hosts=tuple(
            _file(each, tokens)
            for key in ("userknownhostsfile", "globalknownhostsfile")
            for each in one(key).split()  # ssh quotes nothing here
        ),
        program=program,
        passes_descriptor=bool(program) and not jump and one("proxyusefdpass") == "yes",
    )


def _agent(text: str, tokens: Mapping[str, str]) -> str:
    """Return the agent's socket; empty for none."""
    if text in ("none", ""):
        return ""
    name = text.removeprefix("$")
    return os.environ.get(name, "") if name.isidentifier() else str(_file(text, tokens))


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 1 << 16:
        return int(text)
    raise UsageError(f"ssh: invalid port {text!r}", hint="correct your SSH configuration")


def _config(settings: Settings) -> list[str]:
    return ["-F", str(settings.ssh_config)] if settings.ssh_config else []


def _through(jump: str, settings: Settings, place: str) -> list[str]:
    """Return the words of an ssh that connects to a place from the last of some jump hosts, as ProxyJump does."""
    before, _, last = jump.rpartition(",")
    found = re.fullmatch(r"(?:(?P<user>.*)@)?(?:\[(?P<address>.*)\]|(?P<name>[^:]*))(?::(?P<port>\d+))?", last)
    if found is None:
        raise UsageError(f"ssh: no ProxyJump: {last}", hint="correct your SSH configuration")
    options = {"-J": before, "-l": found["user"], "-p": found["port"]}
    chosen = [word for option, value in options.items() if value for word in (option, value)]
    # Many machines are asked at once, so that nobody can answer a question.
    quiet = ["-o", "BatchMode=yes"]
    return ["ssh", *_config(settings), *quiet, *chosen, "-W", place, "--", found["address"] or found["name"]]


def expanded(text: str, tokens: Mapping[str, str]) -> str:
    """Return a text of ssh's configuration with its tokens (`%h`...) replaced; unknown ones stay."""
    pieces, rest = [], text
    while "%" in rest:
        before, _, rest = rest.partition("%")
        pieces += [before, tokens.get(f"%{rest[:1]}", f"%{rest[:1]}")]
        rest = rest[1:]
    return "".join([*pieces, rest])


def _file(text: str, tokens: Mapping[str, str]) -> Path:
    home = str(Path.home())
    path = Path(expanded(text, {**tokens, "%d": home, "%u": os.environ.get("USER", "")}))
    try:
        return path.expanduser()
    except RuntimeError:  # ~NAME of somebody who is not known here
        return path


async def connect(route: Route, address: str, port: int) -> socket.socket:
    """Return a socket that is connected to a port of a machine.

    Args:
        route: the way to its SSH server.
        address: the machine's.
        port: its SSH server's, or another one where no program stands in between.

    Raises:
        OSError: nothing answers there.

    """
    if not route.program:
        return await _direct(address, port)
    for pause in _PAUSES:
        try:
            return await _through_program(route)
        except ConnectionRefusedError as error:
            if not _TURNED_AWAY.search(error.strerror or ""):
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (no secret: so that not all come back at once)
    return await _through_program(route)


async def _direct(address: str, port: int) -> socket.socket:
    connecting = socket.socket()
    connecting.setblocking(False)
    try:
        async with asyncio.timeout(_PATIENCE):
            await asyncio.get_running_loop().sock_connect(connecting, (address, port))
    except TimeoutError as error:
        connecting.close()
        raise TimeoutError(None, f"no answer within {_PATIENCE:g} s") from error
    except BaseException:  # a cancelled login, too, must not leave its socket open; raised again
        connecting.close()
        raise
    return connecting


async def _through_program(route: Route) -> socket.socket:
    """Return a socket on which the machine has begun to speak; if it does not, what the program says is the reason."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with tempfile.TemporaryFile("a+b") as said:
        with theirs:
            program = await asyncio.to_thread(_started, route.program, theirs, said)
        try:
            async with asyncio.timeout(_PATIENCE):
                await _readable(ours)
            return _received(ours) if route.passes_descriptor else _answering(ours)
        except BaseException as error:  # when it is cancelled, too, the program ends; raised again
            ours.close()
            program.kill()
            if not isinstance(error, OSError):
                raise
            silent = f"no answer within {_PATIENCE:g} s" if isinstance(error, TimeoutError) else error.strerror
            raise ConnectionRefusedError(None, _last_words(said) or silent) from error


def _started(line: str, end: socket.socket, said: IO[bytes]) -> subprocess.Popen[bytes]:
    # OpenSSH gives the user's own ProxyCommand to a shell, so it may be written for one.
    words = ["/bin/sh", "-c", f"exec {line}"]
    return subprocess.Popen(words, stdin=end.fileno(), stdout=end.fileno(), stderr=said)


async def _readable(ours: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(ours, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(ours)


def _answering(ours: socket.socket) -> socket.socket:
    """Return a socket if it has something to read; SSH servers speak first."""
    if not ours.recv(1, socket.MSG_PEEK):
        raise ConnectionRefusedError(None, "the ProxyCommand did not connect")
    return ours


def _received(ours: socket.socket) -> socket.socket:
    """Return the socket that a program with ProxyUseFdpass sends."""
    _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if not descriptors:
        raise ConnectionRefusedError(None, "the ProxyCommand did not connect")
    ours.close()
    received = socket.socket(fileno=descriptors[0])
    received.setblocking(False)
    return received


def _last_words(said: IO[bytes]) -> str:
    """Return the last two lines of what a program said; ssh gives the reason first, then what it means."""
    # Reading at a place of its own leaves the program, which may still write, its place.
    text = os.pread(said.fileno(), _MUCH, max(0, os.fstat(said.fileno()).st_size - _MUCH)).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-2:])
