"""Where a scheduler is: `10.0.0.1:8786`, `[::1]:8786`, `head.example.org:8786`, with or without `tcp://` in front."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from contextlib import closing
from dataclasses import dataclass

from cloudmesh_cluster.core.errors import ConnectionFailed, InvalidAddress

FORM = "expected HOST:PORT or SCHEME://HOST:PORT, where HOST is an IPv4 address, an [IPv6 address] or a name"
CONNECT_TIMEOUT = 5.0  # seconds

_FORM = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?:\[(?P<six>[^][]*)\]|(?P<host>[^][:/]*)):(?P<port>[0-9]{1,5})"
)
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_DOTTED_NUMBERS = re.compile(r"[0-9.]+")


@dataclass(frozen=True)
class Address:
    """An address in its parts; `host` has no brackets.

    Args:
        scheme: tcp, tls or spark.
        host: an IPv4 or IPv6 address, or a name.
        port: 1 to 65535, or 0 for one that is free.

    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bracketed}:{self.port}"

    @property
    def bracketed(self) -> str:
        """The host as it stands before a port: an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def page_host(self) -> str:
        """Where Dask can put a web page: it knows no IPv6 there, so beside an IPv6 address it is on the loopback."""
        return "127.0.0.1" if ":" in self.host else self.host


def parse_address(text: str, schemes: tuple[str, ...], *, any_port: bool = False) -> Address:
    """Return an address in its parts.

    Args:
        text: what a user wrote.
        schemes: which are possible; the first is meant where none is given.
        any_port: whether port 0 (one that is free) is an address.

    Raises:
        InvalidAddress: it is none (a `ValueError`).

    """
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise InvalidAddress(f"{text!r} is no address", hint=FORM)
    scheme, host, port = match["scheme"] or schemes[0], match["six"] or match["host"] or "", int(match["port"])
    if scheme not in schemes:
        raise InvalidAddress(f"{text!r}: {scheme}:// is not possible here", hint=f"possible: {', '.join(schemes)}")
    if not _is_host(host, six=match["six"] is not None):
        raise InvalidAddress(f"{text!r}: {host!r} is no host", hint=FORM)
    if not (0 if any_port else 1) <= port <= 65535:
        raise InvalidAddress(f"{text!r}: {port} is no port", hint="ports are 1 to 65535")
    return Address(scheme, host, port)


def _is_host(host: str, *, six: bool) -> bool:
    try:
        return ipaddress.ip_address(host).version == (6 if six else 4)
    except ValueError:
        return not six and bool(_NAME.fullmatch(host)) and not _DOTTED_NUMBERS.fullmatch(host)


def refuse_unless_free(address: Address) -> None:
    """Find out before a process is started that it could not listen.

    Raises:
        ConnectionFailed: the host is none of this machine, or another process uses the port.

    """
    family, place = _resolved(address)
    with closing(socket.socket(family, socket.SOCK_STREAM)) as listener:
        # As servers do: connections of an earlier one that are not quite forgotten don't matter.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
            listener.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                hint = f"choose another port, or end what uses it (find it: ss -ltnp 'sport = :{address.port}')"
                raise ConnectionFailed(f"{address} is already in use by another process", hint=hint) from error
            hint = "a scheduler can only listen on an address of the machine it is started on (see them: ip addr)"
            raise ConnectionFailed(f"nothing can listen on {address}: {error.strerror}", hint=hint) from error


def refuse_unless_answering(address: Address, *, what: str, timeout: float = CONNECT_TIMEOUT) -> None:
    """Find out at once that nothing answers, where libraries would try for minutes.

    Args:
        address: where something should listen.
        what: its name in messages ("Dask scheduler").
        timeout: seconds.

    Raises:
        ConnectionFailed: nothing does.

    """
    _resolved(address)
    try:
        socket.create_connection((address.host, address.port), timeout).close()
    except OSError as error:
        raise no_answer(address, what, error.strerror or str(error)) from error


def no_answer(address: Address | str, what: str, why: str) -> ConnectionFailed:
    """Return the error that says what to look at when a scheduler does not answer."""
    hint = "did you start it, does it still run, is the address right, does a firewall let this machine through?"
    return ConnectionFailed(f"no {what} answers at {address}: {why}", hint=hint)


def not_connected(library: str, why: str = "") -> ConnectionFailed:
    """Return the error that names the three steps to a connection to a scheduler of a library ("Dask")."""
    hint = (
        f"cloudmesh_cluster.cluster_setup.{library.lower()} has the three steps: 1. start_scheduler(ADDRESS), "
        "2. start_worker(ADDRESS) several times, 3. connect_to_scheduler(ADDRESS)"
    )
    return ConnectionFailed(why or f"there is no connection to a {library} scheduler", hint=hint)


def own_address_towards(address: Address) -> str:
    """Return this machine's own IP address on the way to another one: where that one can call back."""
    family, place = _resolved(address)
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as unsent:
        unsent.connect(place)  # chooses a route, sends nothing
        return str(unsent.getsockname()[0])


def free_port(host: str) -> int:
    """Return a port of this machine that nobody uses at the moment."""
    family, place = _resolved(Address("tcp", host, 0))
    with closing(socket.socket(family, socket.SOCK_STREAM)) as listener:
        listener.bind(place)
        return int(listener.getsockname()[1])


def _resolved(address: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        hint = "is the name right? it must stand in /etc/hosts or in the DNS of this machine"
        raise ConnectionFailed(f"{address.host}: no such host: {error.strerror}", hint=hint) from error
    family, _, _, _, place = min(found)  # IPv4 where a name has both, as Dask does
    return family, (str(place[0]), int(place[1]))
