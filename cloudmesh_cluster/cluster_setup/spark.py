"""Spark (its standalone cluster): start a scheduler and workers, connect to them, see how they are."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh_cluster.cluster_setup.address import (
    Address,
    no_answer,
    own_address_towards,
    parse_address,
    refuse_unless_answering,
    refuse_unless_free,
)
from cloudmesh_cluster.cluster_setup.options import check_cores, check_ports, mebibytes
from cloudmesh_cluster.cluster_setup.service import Service
from cloudmesh_cluster.cluster_setup.spark_status import status_from, versions_differ
from cloudmesh_cluster.cluster_setup.status import Difference, Status
from cloudmesh_cluster.errors import ConnectionFailed, LibraryMissing

if TYPE_CHECKING:
    from pyspark import SparkContext

SCHEMES = ("spark",)
THREE_STEPS = (
    "cloudmesh_cluster.cluster_setup.spark has the three steps: 1. start_scheduler(ADDRESS), "
    "2. start_worker(ADDRESS) several times, 3. connect_to_scheduler(ADDRESS)"
)
# What the daemons say when they serve; the format is ours, whatever the user's own logging says.
LOGGING = """\
rootLogger.level = info
rootLogger.appenderRef.stderr.ref = stderr
appender.console.type = Console
appender.console.name = stderr
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss} %p %c{1}: %m%n%ex
"""
_MASTER_AT = re.compile(r" Master: Starting Spark master at (spark://\S+)$")
_MASTER_SERVES = re.compile(r" Master: I have been elected leader!")
_PAGE_AT = re.compile(r"WebUI: Bound .* started at http://\S+:(\d+)$")
_WORKER_AT = re.compile(r" Worker: Starting Spark worker (\S+:\d+) with ")
_WORKER_SERVES = re.compile(r" Worker: Successfully registered with master ")


class _Current:
    """The connection of this interpreter, which the distributed maps use, and where its scheduler's page is."""

    context: SparkContext | None = None
    address: Address | None = None
    dashboard_port: int | None = None


def start_scheduler(
    scheduler_address: str,
    *,
    dashboard_port: int = 8080,
    environ: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    background: bool = False,
) -> Service:
    """Start a scheduler (Spark's master), and wait until it serves.

    It runs in a process of its own, which ends with this one. Without `background` the call blocks until Ctrl-C or
    SIGTERM, then stops the scheduler and returns; it can be started again at the same address.

    Args:
        scheduler_address: where it shall listen, on this machine: HOST:PORT, with or without spark://; port 0 is one
            that is free, and the handle knows it.
        dashboard_port: of its web page, on the same host; the next free one if it is taken; 0 is any.
        environ: more environment for it, as in Spark's spark-env.sh: {"SPARK_DAEMON_MEMORY": "256m"}.
        timeout: seconds until it must serve.
        background: return a handle at once, which has `.address`, `.dashboard`, `.stop()`, and is a context manager.

    Raises:
        ValueError: the address or an option is wrong.
        ConnectionError: the address is in use, or not of this machine, or the scheduler did not start.

    """
    address = parse_address(scheduler_address, SCHEMES, any_port=True)
    check_ports(dashboard_port=dashboard_port)
    home = _spark_home()
    refuse_unless_free(address)
    words = ["--host", address.bracketed, "--port", str(address.port), "--webui-port", str(dashboard_port)]
    service = _service("Spark scheduler", address, home, "master.Master", words, host=address, environ=environ)

    def ready() -> bool:
        if _said(service, _MASTER_SERVES) is None:
            return False
        service.address = _said(service, _MASTER_AT) or str(address)
        if port := _said(service, _PAGE_AT):
            service.dashboard = f"http://{address.bracketed}:{port}"
        return True

    service.begin(ready, timeout=timeout, hint="see its last lines", background=background)
    return service


def start_worker(
    scheduler_address: str,
    max_memory: int | str = "auto",
    num_cores: int | None = None,
    *,
    host: str | None = None,
    port: int = 0,
    dashboard_port: int = 8081,
    local_directory: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    background: bool = False,
) -> Service:
    """Start a worker, and wait until it is registered with its scheduler.

    It runs in a process of its own, which ends with this one and takes all its executors with it. Without `background`
    the call blocks until Ctrl-C or SIGTERM, then stops the worker and returns.

    Args:
        scheduler_address: of the running scheduler.
        max_memory: bytes that applications may have of it, or "5GB"; "auto" or 0 is all memory but 1 GiB.
        num_cores: how many cores applications may have of it; all if not given.
        host: its own address, which scheduler and applications reach; that of the way to the scheduler if not given.
        port: on which it listens; 0 is any.
        dashboard_port: of its web page; the next free one if it is taken; 0 is any.
        local_directory: where applications put their files; a temporary folder, which goes with it, if not given.
        environ: more environment for it and what it starts, as in Spark's spark-env.sh.
        timeout: seconds until it must be registered.
        background: return a handle at once, which has `.name`, `.stop()`, and is a context manager.

    Raises:
        ValueError: the address or an option is wrong.
        ConnectionError: no scheduler answers, or the worker did not start.

    """
    address = parse_address(scheduler_address, SCHEMES)
    check_cores(num_cores)
    check_ports(port=port, dashboard_port=dashboard_port)
    memory = mebibytes(max_memory)
    home = _spark_home()
    refuse_unless_answering(address, what="Spark scheduler")
    own = Address("spark", host or own_address_towards(address), port)
    words = ["--host", own.bracketed, "--port", str(port), "--webui-port", str(dashboard_port)]
    words += ["--memory", f"{memory}m"] if memory else []
    words += ["--cores", str(num_cores)] if num_cores else []
    words += ["--work-dir", str(local_directory)] if local_directory else []
    service = _service("Spark worker", address, home, "worker.Worker", words, host=own, environ=environ)

    def ready() -> bool:
        if _said(service, _WORKER_SERVES) is None:
            return False
        service.name = _said(service, _WORKER_AT) or ""
        if found := _said(service, _PAGE_AT):
            service.dashboard = f"http://{own.bracketed}:{found}"
        return True

    hint = "is it a Spark scheduler, of the same version? See its last lines"
    service.begin(ready, timeout=timeout, hint=hint, background=background)
    return service


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
    _spark_home()
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
    with _environment(PYSPARK_PYTHON=python or os.environ.get("PYSPARK_PYTHON", sys.executable), **_network(own)):
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
        raise ConnectionFailed("there is no connection to a Spark scheduler", hint=THREE_STEPS)
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


def _spark_home() -> Path:
    """Return where Spark is: SPARK_HOME, as everywhere in Spark, else the folder of pyspark."""
    if found := os.environ.get("SPARK_HOME"):
        home = Path(found)
    else:
        try:
            import pyspark
        except ImportError as error:
            raise LibraryMissing("Spark", "spark") from error
        home = Path(pyspark.__file__).parent
    if not (home / "bin" / "spark-class").exists():
        hint = "set SPARK_HOME to the folder of Spark, or unset it"
        raise ConnectionFailed(f"{home} has no bin/spark-class", hint=hint)
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise ConnectionFailed("Spark needs Java", hint="apt-get install default-jre-headless, or set JAVA_HOME")
    return home


def _service(
    what: str, address: Address, home: Path, program: str, words: list[str], *, host: Address,
    environ: Mapping[str, str] | None,
) -> Service:  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="cm-spark-"))
    Path(folder, "log4j2.properties").write_text(LOGGING, encoding="utf-8")
    if program == "worker.Worker" and "--work-dir" not in words:
        words = [*words, "--work-dir", str(folder)]
    arguments = [*words, str(address)] if program == "worker.Worker" else words
    whole = {**os.environ, **_network(host), **(environ or {}), "SPARK_HOME": str(home)}
    # The REST server of the master would run anything for anyone.
    own = [f"-Dlog4j2.configurationFile={folder}/log4j2.properties", "-Dspark.master.rest.enabled=false"]
    own += ["-Djava.net.preferIPv6Addresses=true"] if ":" in host.host else []
    whole["SPARK_DAEMON_JAVA_OPTS"] = " ".join([whole.get("SPARK_DAEMON_JAVA_OPTS", ""), *own]).strip()
    command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{program}", *arguments]
    return Service(what, str(address), command, environ=whole, folder=folder)


def _network(own: Address) -> dict[str, str]:
    """Return the environment that keeps Spark on one address, where it would listen on all."""
    return {"SPARK_LOCAL_IP": own.bracketed}


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables for a while: pyspark and the Java it starts read them only then."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _said(service: Service, pattern: re.Pattern[str]) -> str | None:
    """Return what a line of the output says at the pattern's group, or its match; None if there is no such line."""
    for line in service.output:
        if match := pattern.search(line):
            return match[match.lastindex or 0]
    return None
