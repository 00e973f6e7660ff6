"""Spark (its standalone cluster): start a scheduler and workers, connect to them, see how they are."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cloudmesh_cluster.cluster_setup.address import (
    Address,
    own_address_towards,
    parse_address,
    refuse_unless_answering,
    refuse_unless_free,
)
from cloudmesh_cluster.cluster_setup.options import check_cores, check_ports, mebibytes
from cloudmesh_cluster.cluster_setup.service import Service
from cloudmesh_cluster.cluster_setup.spark_connection import (
    SCHEMES,
    check_versions,
    connect_to_scheduler,
    connection,
    disconnect,
    report_status,
    status_at,
)
from cloudmesh_cluster.cluster_setup.spark_environment import network, spark_home

__all__ = [
    "check_versions",
    "connect_to_scheduler",
    "connection",
    "disconnect",
    "report_status",
    "start_scheduler",
    "start_worker",
    "status_at",
]

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
    home = spark_home()
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
    home = spark_home()
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


def _service(
    what: str, address: Address, home: Path, program: str, words: list[str], *, host: Address,
    environ: Mapping[str, str] | None,
) -> Service:  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="cm-spark-"))
    Path(folder, "log4j2.properties").write_text(LOGGING, encoding="utf-8")
    if program == "worker.Worker" and "--work-dir" not in words:
        words = [*words, "--work-dir", str(folder)]
    arguments = [*words, str(address)] if program == "worker.Worker" else words
    whole = {**os.environ, **network(host), **(environ or {}), "SPARK_HOME": str(home)}
    # The REST server of the master would run anything for anyone.
    own = [f"-Dlog4j2.configurationFile={folder}/log4j2.properties", "-Dspark.master.rest.enabled=false"]
    own += ["-Djava.net.preferIPv6Addresses=true"] if ":" in host.host else []
    whole["SPARK_DAEMON_JAVA_OPTS"] = " ".join([whole.get("SPARK_DAEMON_JAVA_OPTS", ""), *own]).strip()
    command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{program}", *arguments]
    return Service(what, str(address), command, environ=whole, folder=folder)


def _said(service: Service, pattern: re.Pattern[str]) -> str | None:
    """Return what a line of the output says at the pattern's group, or its match; None if there is no such line."""
    for line in service.output:
        if match := pattern.search(line):
            return match[match.lastindex or 0]
    return None
