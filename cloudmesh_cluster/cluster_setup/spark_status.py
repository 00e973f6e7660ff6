"""What a Spark scheduler's page and a connection know, as a `Status`, and the versions on its workers."""

from __future__ import annotations

import json
import platform
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cluster_setup.address import Address, parse_address
from cloudmesh_cluster.cluster_setup.status import Difference, Status, WorkerStatus, differences
from cloudmesh_cluster.core.errors import ConnectionFailed

if TYPE_CHECKING:
    from pyspark import SparkContext

FIRST_PORT, PORTS_TRIED = 8080, 17  # where Spark puts its page, and the next ones while they are taken
PAGE_TIMEOUT = 5.0  # seconds
PACKAGES = ("pyspark", "numpy", "pandas", "pyarrow")
_SECRET = re.compile(r"secret|password|token|access[.]?key", re.IGNORECASE)
_OTHER_PYTHON = re.compile(
    r"\(TID \d+\) \((\S+) executor.*?Python in worker has different version: (\S+) than that in driver: (\S+?)[,. ]",
    re.DOTALL,
)


def status_from(
    address: Address, dashboard_port: int | None, *, context: SparkContext | None = None, depth: int | None = None
) -> Status:
    """Ask the scheduler's page, and the connection if there is one.

    Raises:
        ConnectionFailed: no page of this scheduler is found.

    """
    page, found = _page(address, dashboard_port)
    settings = {} if context is None else {
        key: "(hidden)" if _SECRET.search(key) else value for key, value in context.getConf().getAll()
    }  # fmt: skip
    return Status(
        system="Spark",
        scheduler=found["url"],
        dashboard=page,
        workers=tuple(sorted(map(_worker, found["workers"]), key=lambda worker: worker.worker)),
        tasks={"applications": len(found["activeapps"]), **({} if context is None else _tasks(context))},
        versions=_versions_here(),
        settings=settings,
        depth=depth,
    )


def versions_differ(context: SparkContext, *, timeout: float) -> tuple[Difference, ...]:
    """Run a small job on all workers, and compare what they have.

    Raises:
        ConnectionFailed: the job did not end in time.

    """
    from py4j.protocol import Py4JJavaError

    group = "versions of the workers"
    context.setJobGroup(group, group, interruptOnCancel=True)
    too_late = threading.Timer(timeout, context.cancelJobGroup, [group])
    too_late.start()
    parts = 4 * context.defaultParallelism
    try:
        answers = context.parallelize(range(parts), parts).map(_reporter(PACKAGES)).collect()
    except Py4JJavaError as error:
        if match := _OTHER_PYTHON.search(str(error)):
            return (Difference(match[1], "python", match[2], match[3]),)
        hint = "has any worker free cores and memory for this connection?"
        raise ConnectionFailed(f"the workers did not tell their versions within {timeout:g} s", hint=hint) from error
    finally:
        too_late.cancel()
        context.setLocalProperty("spark.jobGroup.id", None)
    return differences(_versions_here(), dict(answers))


def _reporter(packages: tuple[str, ...]) -> Callable[[int], tuple[str, dict[str, str]]]:
    def report(_: int) -> tuple[str, dict[str, str]]:  # travels by value: workers need not have this package
        import platform
        import socket
        import time
        from importlib.metadata import PackageNotFoundError, version

        import pyspark

        time.sleep(0.05)  # so that no worker answers for all
        found = {"python": platform.python_version(), "pyspark": pyspark.__version__}
        for package in packages:
            try:
                found.setdefault(package, version(package))
            except PackageNotFoundError:
                found.setdefault(package, "")
        return socket.gethostname(), found

    return report


def _versions_here() -> dict[str, str]:
    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return ""

    return {"python": platform.python_version(), **{package: of(package) for package in PACKAGES}}


def _page(address: Address, dashboard_port: int | None) -> tuple[str, Mapping[str, Any]]:
    ports = range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if dashboard_port is None else [dashboard_port]
    for port in ports:
        page = f"http://{address.bracketed}:{port}"
        for found in _asked(f"{page}/json/"):
            if parse_address(found.get("url", ""), ("spark",)).port == address.port:
                return page, found
    tried = f"{ports[0]} to {ports[-1]}" if len(ports) > 1 else f"{ports[0]}"
    raise ConnectionFailed(
        f"the web page of the scheduler at {address} is not at port {tried}, and it alone knows the workers",
        hint="say where it is: dashboard_port=PORT (cm spark status ADDRESS --dashboard-port PORT)",
    )


def _asked(url: str) -> Iterator[Mapping[str, Any]]:
    """Yield what a page says; nothing if nobody answers, or somebody else."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PAGE_TIMEOUT) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return
    if isinstance(found, dict) and str(found.get("url", "")).startswith("spark://"):
        yield found


def _worker(found: Mapping[str, Any]) -> WorkerStatus:
    return WorkerStatus(
        worker=f"{found['host']}:{found['port']}",
        host=found["host"],
        state=found["state"],
        cores=found["cores"],
        memory=found["memory"] * 2**20,
        used=found["memoryused"] * 2**20,
        tasks=found["coresused"],
    )


def _tasks(context: SparkContext) -> dict[str, int]:
    tracker = context.statusTracker()
    stages = [info for stage in tracker.getActiveStageIds() if (info := tracker.getStageInfo(stage)) is not None]
    return {"jobs": len(list(tracker.getActiveJobsIds())), "running": sum(info.numActiveTasks for info in stages)}
