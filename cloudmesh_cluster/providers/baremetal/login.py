"""Logging in to a machine as its user would: with the user's own keys, to a host whose key the user knows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import asyncssh

from cloudmesh_cluster.core.errors import CmError, UsageError
from cloudmesh_cluster.core.model import HostKeys, HostKeySource, Machine
from cloudmesh_cluster.providers.baremetal.routes import Route, connect, route_to
from cloudmesh_cluster.providers.baremetal.settings import Settings

_PATIENCE = 30.0
_ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512,rsa-sha2-256")
_TOO_MANY_KEYS = "it was shown too many keys: name the right one, as private_key in providers.yaml"
Obstacle = Literal["route", "closed", "unknown host key", "changed host key", "denied", "lost"]


class NoLogin(CmError):
    """A machine could not be logged in to; `obstacle` says what kind of thing is in the way.

    Args:
        obstacle: its kind.
        reason: it in words.
        presented: the fingerprint of the host key that the machine showed.

    """

    def __init__(self, obstacle: Obstacle, reason: str, *, presented: str = "", hint: str = "") -> None:
        super().__init__(reason, hint=hint)
        self.obstacle = obstacle
        self.presented = presented


@dataclass(frozen=True)
class Login:
    """An open connection to a machine, the host keys by which it is recognized, the fingerprint of the one it shows."""

    route: Route
    address: str
    connection: asyncssh.SSHClientConnection
    host_keys: HostKeys
    fingerprint: str


class _Client(asyncssh.SSHClient):
    """Takes a host key that no file of known hosts has, if it has the fingerprint that the user gave or any will do."""

    def __init__(self, fingerprint: str | None, *, any_will_do: bool) -> None:
        self._fingerprint = fingerprint
        self._any_will_do = any_will_do
        self.presented = ""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.presented = key.get_fingerprint()
        return self._any_will_do or self.presented == self._fingerprint


async def log_in(
    machine: Machine,
    settings: Settings,
    *,
    more_keys: Sequence[Path] = (),
    pinned: Sequence[str] = (),
    trust_on_first_use: bool = False,
) -> Login:
    """Log in to a machine.

    Args:
        machine: which.
        settings: who logs in, and with which key.
        more_keys: private keys to try as well, such as the cluster's own.
        pinned: host keys that were trusted on first use; they count where nobody else knows any.
        trust_on_first_use: whether to take any host key where nobody knows any.

    Raises:
        NoLogin: says what is in the way.

    """
    try:
        route = await asyncio.to_thread(route_to, machine, settings)
        address = await asyncio.to_thread(lambda: route.address)
    except UsageError as error:
        raise NoLogin("route", error.message, hint=error.hint) from error
    known, source = _known(route, address), _source(machine)
    if not known[0] and machine.host_key is None and (pinned or trust_on_first_use):
        source = "first use"
        known = ([asyncssh.import_public_key(key) for key in pinned], *known[1:])
    # The server shows one key: where a fingerprint is all that is known of it, of the kind that was asked for.
    asked = _ALGORITHMS if machine.host_key and not known[0] else ("",)
    for algorithms in asked:
        client = _Client(machine.host_key, any_will_do=source == "first use" and not pinned)
        try:
            async with asyncio.timeout(_PATIENCE):
                keys = keys_for(route, settings, more_keys)
                connection = await _open(route, address, client, known, algorithms, keys)
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            if algorithms == asked[-1]:
                raise _untrusted(route, client, error, known=bool(known[0]) or machine.host_key is not None) from error
            continue
        except asyncssh.PermissionDenied as error:
            raise NoLogin("denied", f"user {route.user} is not let in") from error
        except (OSError, asyncssh.Error) as error:
            reason = (error.strerror if isinstance(error, OSError) else error.reason) or str(error)
            if "authentication failures" in reason:
                raise NoLogin("denied", f"user {route.user} is not let in: {reason}", hint=_TOO_MANY_KEYS) from error
            raise NoLogin("closed", f"port {route.port} does not answer: {reason or type(error).__name__}") from error
        return Login(route, address, connection, *_recognized(connection, known, source))
    raise AssertionError  # the loop ends by return or raise


async def _open(
    route: Route, address: str, client: _Client, known: Any, algorithms: str, keys: dict[str, Any]
) -> asyncssh.SSHClientConnection:
    connected = await connect(route, address, route.port)
    options = asyncssh.SSHClientConnectionOptions(
        username=route.user,
        known_hosts=known,
        host_key_alias=route.alias or route.name,
        config=None,
        preferred_auth="publickey",
        client_factory=lambda: client,
        x509_trusted_certs=None,
        login_timeout=_PATIENCE,
        **({"server_host_key_algs": algorithms.split(",")} if algorithms else {}),
        **keys,
    )
    return await asyncssh.connect(address, route.port, sock=connected, options=options)


def _known(route: Route, address: str) -> Any:
    """Return the host keys, authorities and revoked keys that the user's files have for a machine."""
    text = "".join(readable_lines(path) for path in route.known_hosts if path.is_file())
    port = route.port if route.port != 22 and not route.alias else None
    return asyncssh.match_known_hosts(text.encode(), route.alias or route.name, address, port) if text else ([], [], [])


def readable_lines(file: Path) -> str:
    """Return the lines of a file of known hosts that can be read; the others are skipped, as OpenSSH does."""
    lines = []
    for line in file.read_bytes().decode("utf-8", "replace").splitlines():
        try:
            asyncssh.import_known_hosts(line)
        except ValueError:
            continue
        lines.append(f"{line}\n")
    return "".join(lines)


def keys_for(route: Route, settings: Settings, more: Sequence[Path]) -> dict[str, Any]:
    """Return the user's keys: the one that was named, else those that ssh would try, and what the agent has."""
    named = [settings.private_key] if settings.private_key else list(route.identities)
    loaded = {path: _loaded(path) for path in (*named, *more)}
    keys: dict[str, Any] = {
        "client_keys": [key for key in loaded.values() if key is not None],
        "agent_path": route.agent or None,
    }
    if settings.private_key or route.identities_only:
        # A server lets nobody try all keys of a full agent: only those of which a public half lies here.
        publics = [path.with_name(f"{path.name.removesuffix('.pub')}.pub") for path in named]
        if there := [str(path) for path in publics if path.is_file()]:
            keys["agent_identities"] = there
        elif all(loaded[path] is not None for path in named if path.is_file()):
            keys["agent_path"] = None
    return keys


def _loaded(path: Path) -> asyncssh.SSHKey | None:
    """Return a private key; None where there is none, or its passphrase is known to the agent only."""
    try:
        return asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError):
        return None


def _untrusted(route: Route, client: _Client, error: asyncssh.Error, *, known: bool) -> NoLogin:
    if known:
        return NoLogin("changed host key", f"its host key is not the one you know ({error.reason})",
                       presented=client.presented)  # fmt: skip
    return NoLogin("unknown host key", "its host key is not known", presented=client.presented)


def _source(machine: Machine) -> HostKeySource:
    return "known hosts" if machine.host_key is None else "profile"


def _recognized(connection: asyncssh.SSHClientConnection, known: Any, source: HostKeySource) -> tuple[HostKeys, str]:
    """Return the host keys to accept from now on, and the fingerprint of the one that was shown."""
    keys = list(known[0])
    shown = connection.get_server_host_key()
    if shown is not None and not keys:
        keys = [shown]
    texts = tuple(" ".join(key.export_public_key("openssh").decode().split()[:2]) for key in keys)
    return HostKeys(texts, source), shown.get_fingerprint() if shown is not None else ""


async def run(login: Login, command: str, stdin: bytes = b"", *, sudo: bool = False, timeout: float = 60.0) -> Any:
    """Run a shell line on a machine, as root if `sudo`, and return asyncssh's result, its output as text.

    Raises:
        NoLogin: the connection was lost, or the command did not end in time.

    """
    line = f"exec sudo -n -- {command}" if sudo else f"exec {command}"
    try:
        done = await login.connection.run(line, input=stdin, check=False, encoding=None, timeout=timeout)
    except (OSError, asyncssh.Error) as error:
        raise NoLogin("lost", f"the connection was lost: {error}") from error
    return done


def text(output: Any) -> str:
    """Return what a command printed as text."""
    return bytes(output or b"").decode("utf-8", "replace")
