"""The connection of this interpreter to a Dask scheduler, by TCP or TLS, and what the scheduler says."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cluster_setup.address import (
    Address,
    no_answer,
    not_connected,
    parse_address,
    refuse_unless_answering,
)
from cloudmesh_cluster.cluster_setup.dask_status import status_of
from cloudmesh_cluster.cluster_setup.status import Difference, Status
from cloudmesh_cluster.core.errors import CmError, InvalidOption, LibraryMissing

if TYPE_CHECKING:
    from distributed import Client, Security

SCHEMES = ("tcp", "tls")


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
    _Current.client = client_at(address, tls, timeout=timeout, name=name, set_as_default=True)
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
        raise not_connected("Dask")
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
    with client_at(parse_address(scheduler_address, SCHEMES), tls, timeout=timeout) as client:
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


def client_at(
    address: Address, tls: Certificates | None, *, timeout: float, name: str | None = None, set_as_default: bool = False
) -> Client:
    """Return a client of the scheduler at an address.

    Raises:
        ConnectionFailed: none answers there.
        InvalidOption: the certificates and the address don't fit.

    """
    security = security_for(address, tls)
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


def security_for(address: Address, tls: Certificates | None) -> Security:
    """Return what one needs to speak with a scheduler, having looked at it.

    Raises:
        InvalidOption: the certificates and the address don't fit, or a file can't be read.
        LibraryMissing: Dask is not installed.

    """
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
