"""The connection of this interpreter to a Spark scheduler, and what the scheduler says."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cloudmesh_cluster.cluster_setup.address import (
    Address,
    no_answer,
    not_connected,
    own_address_towards,
    parse_address,
    refuse_unless_answering,
)
from cloudmesh_cluster.cluster_setup.options import check_cores, mebibytes
from cloudmesh_cluster.cluster_setup.spark_environment import environment, network, spark_home
from cloudmesh_cluster.cluster_setup.spark_status import status_from, versions_differ
from cloudmesh_cluster.cluster_setup.status import Difference, Status

if TYPE_CHECKING:
    from pyspark import SparkContext

SCHEMES = ("spark",)


class _Current:
    """The connection of this interpreter, which the distributed maps use, and where its scheduler's page is."""

    context: SparkContext | None = None
    address: Address | None = None
    dashboard_port: int | None = None


def connect_to_scheduler(
    scheduler_address: str,
    *,
    application: str = "cloudmesh_cluster",
    max_memory: int | str = "auto",
    max_cores: int | None = None,
    python: str | None = None,
    driver_host: str | None = None,
    dashboard_port: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> SparkContext:
    """Connect this interpreter to a scheduler; the distributed maps use this connection. An earlier one is closed.

    Args:
        scheduler_address: of the running scheduler.
        application: what the scheduler calls this connection.
        max_memory: of each executor: bytes, or "5GB"; "auto" or 0 is Spark's own (1 GiB).
        max_cores: how many cores of all workers it takes; all if not given.
        python: the interpreter on the workers; the path of this one if not given (or PYSPARK_PYTHON).
        driver_host: the address of this machine that workers reach; that of the way to the scheduler if not given.
        dashboard_port: of the scheduler's web page, which knows the workers; looked for if not given.
        settings: anything else that Spark can be told: {"spark.executor.cores": "2"}.

    Returns:
        Spark's own context; its `uiWebUrl` is the page of this connection.

    Raises:
        ValueError: the address or an option is wrong.
        ConnectionError: no scheduler answers.

    """
    address = parse_address(scheduler_address, SCHEMES)
    check_cores(max_cores)
    memory = mebibytes(max_memory)
    spark_home()
    refuse_unless_answering(address, what="Spark scheduler")
    own = Address("spark", driver_host or own_address_towards(address), 0)
    chosen = {
        "spark.driver.host": own.bracketed,
        "spark.driver.bindAddress": own.bracketed,
        "spark.ui.showConsoleProgress": "false",
        **({"spark.executor.memory": f"{memory}m"} if memory else {}),
        **({"spark.cores.max": str(max_cores)} if max_cores else {}),
        **(settings or {}),
    }
    disconnect()
    with environment(PYSPARK_PYTHON=python or os.environ.get("PYSPARK_PYTHON", sys.executable), **network(own)):
        _Current.context = _context(address, application, chosen)
    _Current.address, _Current.dashboard_port = address, dashboard_port
    return _Current.context


def disconnect() -> None:
    """Close the connection, if there is one, and any other of this interpreter: Spark allows only one."""
    context, _Current.context = _connection(), None
    if context is not None:
        context.stop()


def connection() -> SparkContext:
    """Return the connection of this interpreter: that of `connect_to_scheduler`, else Spark's active one.

    Raises:
        ConnectionError: there is none.

    """
    if (context := _connection()) is None:
        raise not_connected("Spark")
    return context


def report_status(depth: int | None = None) -> Status:
    """Return what the scheduler says of itself and its workers, and the settings; printing it shows a table.

    Args:
        depth: how many levels of the settings are shown, as in `pprint`; None is all.

    Raises:
        ConnectionError: the scheduler does not answer any more.

    """
    if (context := _connection()) is None:
        return Status("Spark")
    address = _Current.address or parse_address(context.master, SCHEMES)
    return status_from(address, _Current.dashboard_port, context=context, depth=depth)


def status_at(scheduler_address: str, *, dashboard_port: int | None = None) -> Status:
    """Return the same of any scheduler, without a connection.

    Args:
        scheduler_address: of the running scheduler.
        dashboard_port: of its web page; looked for if not given.

    """
    address = parse_address(scheduler_address, SCHEMES)
    refuse_unless_answering(address, what="Spark scheduler")
    return status_from(address, dashboard_port)


def check_versions(*, timeout: float = 60.0) -> tuple[Difference, ...]:
    """Compare Python and libraries on the workers with this interpreter's, by a small job; nothing is good news.

    Args:
        timeout: seconds after which the job is given up.

    Raises:
        ConnectionError: there is no connection, or no worker has room for the job.

    """
    return versions_differ(connection(), timeout=timeout)


def _connection() -> SparkContext | None:
    if _Current.context is None and "pyspark" in sys.modules:
        from pyspark.sql import SparkSession

        session = SparkSession.getActiveSession()
        return session.sparkContext if session else None
    return _Current.context


def _context(address: Address, application: str, settings: Mapping[str, str]) -> SparkContext:
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException

    conf = SparkConf().setMaster(str(address)).setAppName(application).setAll(list(settings.items()))
    try:
        return SparkContext(conf=conf)
    except (Py4JError, PySparkException, OSError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise no_answer(address, "Spark scheduler", next((x for x in lines if "Exception" in x), lines[0])) from error
