"""Tunnels to a cluster that stay open while a client uses them, and clients that come through them."""

from __future__ import annotations

import asyncio
import threading
import warnings
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.core.errors import ConnectionFailed, UsageError
from cloudmesh_cluster.core.home import Home

if TYPE_CHECKING:
    from distributed import Client, Security
    from pyspark.sql import SparkSession

CONNECT_TIMEOUT = 30.0  # seconds


class HeldTunnel:
    """A tunnel to a port of a cluster's master, held by a thread of its own until it is closed.

    Args:
        home: whose cluster.
        cluster: its name.
        port: the port on the master.

    Raises:
        CmError: the tunnel can't be made.

    """

    def __init__(self, home: Home, cluster: str, port: int) -> None:
        self._ready: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._hold(home, cluster, port))
        # A daemon: a tunnel that somebody forgot must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._run, name=f"cm tunnel {cluster}:{port}", daemon=True)
        self._thread.start()
        self.port = self._ready.result()

    async def _hold(self, home: Home, cluster: str, port: int) -> None:
        from cloudmesh_cluster.operations.tunnels import tunnel

        try:
            async with tunnel(home, cluster, port) as here:
                self._ready.set_result(here)
                await asyncio.Event().wait()
        except Exception as error:  # whatever it is, the one who waits for the port is told
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.wait([self._task]))
        self._loop.close()

    def close(self) -> None:
        """Close it; it may be closed already."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()


def dask_client(home: Home, cluster: str, **options: Any) -> tuple[Client, HeldTunnel]:
    """Return a client of the cluster's Dask scheduler, and the tunnel that it needs.

    Raises:
        UsageError: Dask is not on the cluster, or not installed here.
        ConnectionFailed: the scheduler doesn't answer.

    """
    from cloudmesh_cluster.operations.queries.ports import port_of

    port = port_of(home, cluster, "dask", "scheduler")
    try:
        from distributed import Client
    except ImportError as error:
        raise _not_here("dask", error) from error
    security = _security(home, cluster)
    protocol = "tls" if security else "tcp"
    held = HeldTunnel(home, cluster, port)
    try:
        with warnings.catch_warnings():
            # Dask also warns of packages that only one side has; `_warn_of_versions` tells what matters.
            warnings.filterwarnings("ignore", message="Mismatched versions found")
            chosen = {"timeout": CONNECT_TIMEOUT, "security": security, **options}
            client = Client(f"{protocol}://127.0.0.1:{held.port}", **chosen)
    except OSError as error:
        held.close()
        raise _silent("dask", cluster, error) from error
    _warn_of_versions(client.get_versions())
    weakref.finalize(client, held.close)
    return client, held


def _security(home: Home, cluster: str) -> Security | None:
    """Return this client's certificate, and the authority that the scheduler's must be of, where the cluster asks."""
    from distributed import Security

    from cloudmesh_cluster.operations.queries.ports import plugin_of
    from cloudmesh_cluster.plugins.certificates import client_certificate

    if not plugin_of(home, cluster, "dask").settings["tls"]:
        return None
    files = {name: str(path) for name, path in client_certificate(home, cluster).items()}
    return Security(
        require_encryption=True,
        tls_ca_file=files["ca.pem"],
        tls_client_cert=files["cert.pem"],
        tls_client_key=files["key.pem"],
    )


def _warn_of_versions(versions: dict[str, Any]) -> None:
    """Warn of packages that both sides have, in different versions: functions may not survive the way."""
    here, there = versions["client"]["packages"], versions["scheduler"]["packages"]
    for name, version in here.items():
        if version and there.get(name) and version != there[name]:
            warnings.warn(f"{name} is {version} here and {there[name]} on the cluster", stacklevel=4)


def spark_session(home: Home, cluster: str, *, name: str) -> tuple[SparkSession, HeldTunnel]:
    """Return a session of the cluster's Spark Connect, and the tunnel that it needs.

    Raises:
        UsageError: Spark is not on the cluster or serves no Connect, or is not installed here.
        ConnectionFailed: it doesn't answer.

    """
    from cloudmesh_cluster.operations.queries.ports import port_of

    port = port_of(home, cluster, "spark", "connect")
    try:
        import grpc
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise _not_here("spark", error) from error
    held = HeldTunnel(home, cluster, port)
    try:
        session = SparkSession.builder.remote(f"sc://127.0.0.1:{held.port}").appName(name).create()
    except grpc.RpcError as error:
        held.close()
        raise _silent("spark", cluster, error) from error
    # At exit the session ends through the tunnel, which must outlive it; the tunnel's thread is a daemon.
    weakref.finalize(session, held.close).atexit = False
    return session, held


def _not_here(what: str, error: ImportError) -> UsageError:
    return UsageError(f"{error.name or what} is not installed here", hint=f"pip install 'cloudmesh-cluster[{what}]'")


def _silent(what: str, cluster: str, error: Exception) -> ConnectionFailed:
    hint = f"cm cluster status {cluster} {what}"
    return ConnectionFailed(f"{what} on cluster {cluster!r} does not answer: {error}", hint=hint)
