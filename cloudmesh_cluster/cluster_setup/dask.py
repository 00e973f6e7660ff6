"""Dask: start a scheduler and workers, connect to them, see how they are."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from json import JSONDecodeError, loads
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cluster_setup.address import Address, own_address_towards, parse_address, refuse_unless_free
from cloudmesh_cluster.cluster_setup.dask_connection import (
    SCHEMES,
    Certificates,
    check_versions,
    client_at,
    connect_to_scheduler,
    connection,
    disconnect,
    report_status,
    security_for,
    status_at,
)
from cloudmesh_cluster.cluster_setup.options import check_cores, check_ports
from cloudmesh_cluster.cluster_setup.service import Service
from cloudmesh_cluster.core.errors import InvalidOption

if TYPE_CHECKING:
    from distributed import Client

__all__ = [
    "Certificates",
    "check_versions",
    "connect_to_scheduler",
    "connection",
    "disconnect",
    "report_status",
    "start_scheduler",
    "start_worker",
    "status_at",
]


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
    security_for(address, tls)
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
        client = stack.enter_context(client_at(address, tls, timeout=timeout))
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
