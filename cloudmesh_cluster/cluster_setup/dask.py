"""Dask: start a scheduler and workers, connect to them, see how they are."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from json import JSONDecodeError, loads
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cluster_setup.address import (
    Address,
    no_answer,
    own_address_towards,
    parse_address,
    refuse_unless_answering,
    refuse_unless_free,
)
from cloudmesh_cluster.cluster_setup.dask_status import status_of
from cloudmesh_cluster.cluster_setup.options import check_cores, check_ports
from cloudmesh_cluster.cluster_setup.service import Service
from cloudmesh_cluster.cluster_setup.status import Difference, Status
from cloudmesh_cluster.errors import CmError, ConnectionFailed, InvalidOption, LibraryMissing

if TYPE_CHECKING:
    from distributed import Client, Security

SCHEMES = ("tcp", "tls")
THREE_STEPS = (
    "cloudmesh_cluster.cluster_setup.dask has the three steps: 1. start_scheduler(ADDRESS), "
    "2. start_worker(ADDRESS) several times, 3. connect_to_scheduler(ADDRESS)"
)


@dataclass(frozen=True)
class Certificates:
    """The files of a `tls://` connection, all PEM.

    Args:
        ca_file: the authority that has signed all certificates.
        certificate: this node's own.
        key: its private half.

    """

    ca_file: str | Path
    certificate: str | Path
    key: str | Path


class _Current:
    """The connection of this interpreter, which the distributed maps use."""

    client: Client | None = None


def start_scheduler(
    scheduler_address: str,
    *,
    dashboard_port: int | None = 8787,
    idle_timeout: float | None = None,
    tls: Certificates | None = None,
    timeout: float = 30.0,
    background: bool = False,
) -> Service:
    """Start a scheduler, and wait until it serves.

    It runs in a process of its own, which ends with this one. Without `background` the call blocks until Ctrl-C or
    SIGTERM, then stops the scheduler and returns; it can be started again at the same address.

    Args:
        scheduler_address: where it shall listen, on this machine: HOST:PORT, with or without tcp:// or tls://; port 0
            is one that is free, and the handle knows it.
        dashboard_port: of its web page, on the same host (IPv6: on the loopback); another one if it is taken. None: no
            page.
        idle_timeout: seconds without work after which it stops by itself.
        tls: the certificates of a tls:// address; Dask's own configuration may hold them too.
        timeout: seconds until it must serve.
        background: return a handle at once, which has `.address`, `.dashboard`, `.stop()`, and is a context manager.

    Raises:
        ValueError: the address or an option is wrong.
        ConnectionError: the address is in use, or not of this machine, or the scheduler did not start.

    """
    address = parse_address(scheduler_address, SCHEMES, any_port=True)
    check_ports(dashboard_port=dashboard_port)
    _security(address, tls)
    refuse_unless_free(address)
    folder = Path(tempfile.mkdtemp(prefix="cm-dask-"))
    said = folder / "scheduler.json"
    words = ["scheduler", "--host", address.bracketed, "--port", str(address.port), "--protocol", address.scheme]
    words += ["--scheduler-file", str(said), *_tls_words(tls)]
    words += ["--no-dashboard"] if dashboard_port is None else []
    words += ["--dashboard-address", f"{address.page_host}:{dashboard_port or 0}"]
    words += [] if idle_timeout is None else ["--idle-timeout", f"{idle_timeout}s"]
    service = _service("Dask scheduler", address, words, folder=folder)

    def ready() -> bool:
        if (identity := _read(said)) is None:
            return False
        service.address = identity["address"]
        if dashboard_port is not None:
            service.dashboard = f"http://{address.page_host}:{identity['services']['dashboard']}/status"
        return True

    service.begin(ready, timeout=timeout, hint="its last lines say why", background=background)
    return service


def start_worker(
    scheduler_address: str,
    max_memory: float | str = "auto",
    num_cores: int = 1,
    *,
    nanny: bool = False,
    name: str | None = None,
    host: str | None = None,
    port: int = 0,
    nanny_port: int = 0,
    dashboard_port: int | None = None,
    local_directory: str | Path | None = None,
    resources: Mapping[str, float] | None = None,
    tls: Certificates | None = None,
    timeout: float = 30.0,
    background: bool = False,
) -> Service:
    """Start a worker, and wait until it is registered with its scheduler.

    It runs in a process of its own, which ends with this one, and with its scheduler. Without `background` the call
    blocks until Ctrl-C or SIGTERM, then stops the worker and returns.

    Args:
        scheduler_address: of the running scheduler.
        max_memory: bytes; 0 is no limit; "5GB"; a fraction of this machine's memory such as 0.6; "auto" is the share
            of the memory that `num_cores` is of the cores.
        num_cores: how many tasks it works on at a time.
        nanny: have a second process start the worker again when it dies or takes more than 95 % of its memory.
        name: what the scheduler calls it; this host's name and a random ending if not given.
        host: its own address, which scheduler and other workers reach; that of the way to the scheduler if not given.
        port: on which it listens; 0 is any.
        nanny_port: the same of the nanny.
        dashboard_port: of its web page; None: no page.
        local_directory: where it puts what doesn't fit into memory; a temporary folder if not given.
        resources: what it has a limited number of, for tasks that ask for it: {"GPU": 2}.
        tls: the certificates of a tls:// address.
        timeout: seconds until it must be registered.
        background: return a handle at once, which has `.name`, `.stop()`, and is a context manager.

    Raises:
        ValueError: the address or an option is wrong.
        ConnectionError: no scheduler answers, or the worker did not start.

    """
    address = parse_address(scheduler_address, SCHEMES)
    check_cores(num_cores)
    check_ports(port=port, nanny_port=nanny_port, dashboard_port=dashboard_port)
    name = name or f"{socket.gethostname()}-{secrets.token_hex(3)}"
    memory = _memory(max_memory)
    with ExitStack() as stack:
        client = stack.enter_context(_client(address, tls, timeout=timeout))
        host = host or own_address_towards(address)
        own = Address("tcp", host, 0)
        words = ["worker", str(address), "--nworkers", "1", "--nthreads", str(num_cores), "--name", name]
        words += ["--memory-limit", memory, "--nanny" if nanny else "--no-nanny", "--host", own.bracketed]
        words += ["--worker-port", str(port), "--nanny-port", str(nanny_port), "--death-timeout", f"{timeout}s"]
        words += ["--no-dashboard"] if dashboard_port is None else []
        words += ["--dashboard-address", f"{own.page_host}:{dashboard_port or 0}", *_tls_words(tls)]
        words += [] if local_directory is None else ["--local-directory", str(local_directory)]
        words += ["--resources", " ".join(f"{key}={value}" for key, value in resources.items())] if resources else []
        service = _service("Dask worker", address, words, name=name)

        def ready() -> bool:
            if name not in _worker_names(client):
                return False
            stack.close()  # the call may block for days: the connection is not needed for that
            return True

        hint = "is its version the scheduler's? See its last lines"
        service.begin(ready, timeout=timeout, hint=hint, background=background)
    return service


def connect_to_scheduler(
    scheduler_address: str, *, tls: Certificates | None = None, timeout: float = 10.0, name: str | None = None
) -> Client:
    """Connect this interpreter to a scheduler; the distributed maps use this connection. An earlier one is closed.

    Args:
        scheduler_address: of the running scheduler.
        tls: the certificates of a tls:// address.
        timeout: seconds.
        name: what the scheduler calls this client.

    Returns:
        Dask's own client, for everything that Dask can do.

    Raises:
        ValueError: the address is wrong.
        ConnectionError: no scheduler answers.

    """
    address = parse_address(scheduler_address, SCHEMES)
    disconnect()
    _Current.client = _client(address, tls, timeout=timeout, name=name, set_as_default=True)
    return _Current.client


def disconnect() -> None:
    """Close the connection, if there is one."""
    client, _Current.client = _Current.client, None
    if client is not None:
        client.close()


def connection() -> Client:
    """Return the connection of this interpreter: that of `connect_to_scheduler`, else Dask's current client.

    Raises:
        ConnectionError: there is none.

    """
    if (client := _connection()) is None:
        raise ConnectionFailed("there is no connection to a Dask scheduler", hint=THREE_STEPS)
    return client


def report_status() -> Status:
    """Return what the scheduler says of itself and its workers; printing it shows a table.

    Raises:
        ConnectionError: the scheduler does not answer any more.

    """
    if (client := _connection()) is None:
        return Status("Dask")
    try:
        return status_of(client)
    except OSError as error:
        raise no_answer(client.scheduler.address, "Dask scheduler", str(error)) from error


def status_at(scheduler_address: str, *, tls: Certificates | None = None, timeout: float = 10.0) -> Status:
    """Return the same of any scheduler, without a connection that lasts."""
    with _client(parse_address(scheduler_address, SCHEMES), tls, timeout=timeout) as client:
        return status_of(client)


def check_versions() -> tuple[Difference, ...]:
    """Compare Python and libraries of scheduler and workers with this interpreter's; nothing is good news.

    Raises:
        ConnectionError: there is no connection.

    """
    return status_of(connection()).differences


def _connection() -> Client | None:
    if _Current.client is not None:
        return _Current.client
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None


def _client(
    address: Address, tls: Certificates | None, *, timeout: float, name: str | None = None, set_as_default: bool = False
) -> Client:
    security = _security(address, tls)
    refuse_unless_answering(address, what="Dask scheduler", timeout=timeout)
    _refuse_unless_dask(address, security, timeout=timeout)
    from distributed import Client

    try:
        return Client(str(address), timeout=timeout, name=name, security=security, set_as_default=set_as_default)
    except CmError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise no_answer(address, "Dask scheduler", str(error)) from error


def _refuse_unless_dask(address: Address, security: Security, *, timeout: float) -> None:
    """Find out that something else answers than a scheduler; Dask's client would wait for ever."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from distributed.core import rpc

    async def identity() -> dict[str, Any]:
        async with rpc(str(address), connection_args=security.get_connection_args("client")) as scheduler:
            found: dict[str, Any] = await scheduler.identity(n_workers=0)
            return found

    with ThreadPoolExecutor(1) as elsewhere:  # a notebook has an event loop of its own here
        try:
            found = elsewhere.submit(asyncio.run, asyncio.wait_for(identity(), timeout)).result()
        except TimeoutError as error:
            raise no_answer(address, "Dask scheduler", f"it did not greet within {timeout:g} s") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise no_answer(address, "Dask scheduler", str(error) or type(error).__name__) from error
    if found.get("type") != "Scheduler":
        raise no_answer(address, "Dask scheduler", f"a {str(found.get('type')).lower()} does")


def _security(address: Address, tls: Certificates | None) -> Security:
    """Return what a client needs to speak with a scheduler, having looked at it."""
    try:
        from distributed import Security
    except ImportError as error:
        raise LibraryMissing("Dask", "dask") from error
    files = {} if tls is None else {
        "tls_ca_file": tls.ca_file, "tls_client_cert": tls.certificate, "tls_client_key": tls.key,
    }  # fmt: skip
    for option, file in files.items():
        if not os.access(file, os.R_OK):
            raise InvalidOption(f"{option.replace('_', '-')}: {file} can't be read")
    if tls is not None and address.scheme != "tls":
        raise InvalidOption(f"certificates are for tls:// addresses, not for {address}")
    security = Security(**{option: str(file) for option, file in files.items()})
    if address.scheme == "tls" and security.get_connection_args("client").get("ssl_context") is None:
        raise InvalidOption(f"{address} needs certificates", hint="give tls=Certificates(ca_file, certificate, key)")
    return security


def _tls_words(tls: Certificates | None) -> list[str]:
    if tls is None:
        return []
    return ["--tls-ca-file", str(tls.ca_file), "--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)]


def _service(what: str, address: Address, words: list[str], *, name: str = "", folder: Path | None = None) -> Service:
    program = [sys.executable, "-m", "dask", *words]
    return Service(what, str(address), program, environ=os.environ, name=name, folder=folder)


def _read(file: Path) -> dict[str, Any] | None:
    """Return what a scheduler has written of itself; None while it has not, or not all."""
    try:
        found: dict[str, Any] = loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, JSONDecodeError):
        return None
    return found


def _worker_names(client: Client) -> set[str]:
    identity: dict[str, Any] = client.sync(client.scheduler.identity)
    return {str(worker["name"]) for worker in identity["workers"].values()}


def _memory(limit: float | str) -> str:
    from dask.utils import parse_bytes

    try:
        if limit != "auto" and parse_bytes(limit) < 0:
            raise ValueError("it is negative")
    except ValueError as error:
        raise InvalidOption(f"max_memory={limit!r}: {error}", hint='bytes, "5GB", "auto", 0 for no limit') from None
    return str(limit)
