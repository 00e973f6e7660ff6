"""`cm dask` and `cm spark`: `scheduler`, `worker` and `status`, the twins of `cloudmesh_cluster.cluster_setup`."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cli.commands.arguments import timeout_argument, whole_number
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.core.amounts import counted
from cloudmesh_cluster.core.errors import UsageError

if TYPE_CHECKING:
    from cloudmesh_cluster.cluster_setup.dask import Certificates
    from cloudmesh_cluster.cluster_setup.service import Service
    from cloudmesh_cluster.cluster_setup.status import Status

BRIEF = ("worker", "host", "state", "cores", "memory", "used", "tasks")
COLUMNS = (*BRIEF, "versions", "differences")
TLS = ("tls_ca_file", "tls_cert", "tls_key")


def dask_scheduler(args: Namespace, session: Session) -> int:
    """Run a Dask scheduler until it is told to stop."""
    from cloudmesh_cluster.cluster_setup import dask

    port = None if args.no_dashboard else args.dashboard_port
    return _serve(lambda: dask.start_scheduler(
        args.address, dashboard_port=port, idle_timeout=args.idle_timeout, tls=_certificates(args),
        timeout=args.timeout, background=True,
    ))  # fmt: skip


def dask_worker(args: Namespace, session: Session) -> int:
    """Run a Dask worker until it is told to stop."""
    from cloudmesh_cluster.cluster_setup import dask

    return _serve(lambda: dask.start_worker(
        args.address, args.memory, args.cores, nanny=args.nanny, name=args.name, host=args.host, port=args.port,
        local_directory=args.local_directory, tls=_certificates(args), timeout=args.timeout, background=True,
    ))  # fmt: skip


def dask_status(args: Namespace, session: Session) -> int:
    """Print the workers of a Dask scheduler."""
    from cloudmesh_cluster.cluster_setup import dask

    return _show(dask.status_at(args.address, tls=_certificates(args), timeout=args.timeout), args, session)


def spark_scheduler(args: Namespace, session: Session) -> int:
    """Run a Spark scheduler until it is told to stop."""
    from cloudmesh_cluster.cluster_setup import spark

    return _serve(lambda: spark.start_scheduler(
        args.address, dashboard_port=args.dashboard_port, timeout=args.timeout, background=True
    ))  # fmt: skip


def spark_worker(args: Namespace, session: Session) -> int:
    """Run a Spark worker until it is told to stop."""
    from cloudmesh_cluster.cluster_setup import spark

    return _serve(lambda: spark.start_worker(
        args.address, args.memory, args.cores, host=args.host, port=args.port, dashboard_port=args.dashboard_port,
        local_directory=args.local_directory, timeout=args.timeout, background=True,
    ))  # fmt: skip


def spark_status(args: Namespace, session: Session) -> int:
    """Print the workers of a Spark scheduler."""
    from cloudmesh_cluster.cluster_setup import spark

    return _show(spark.status_at(args.address, dashboard_port=args.dashboard_port), args, session)


def _serve(start: Callable[[], Service]) -> int:
    """Start something, say where it is, and wait for Ctrl-C or SIGTERM, which are its ordinary end."""
    log, shown = logging.getLogger("cloudmesh_cluster.cluster_setup"), logging.StreamHandler(sys.stderr)
    log.addHandler(shown)
    log.setLevel(logging.INFO)
    try:
        with start() as service:
            name = f" {service.name}" if service.name else ""
            where = "registered at" if service.name else "serves at"
            page = f", dashboard {service.dashboard}" if service.dashboard else ""
            sys.stderr.write(f"cm: {service.what}{name} {where} {service.address}{page}; Ctrl-C stops it\n")
            service.wait()
    finally:
        log.removeHandler(shown)
    sys.stderr.write(f"cm: {service.what}{name} stopped\n")
    return 0


def _show(status: Status, args: Namespace, session: Session) -> int:
    from cloudmesh_cluster.cluster_setup.status import size

    workers = counted(len(status.workers), "worker")
    sys.stderr.write(f"{status.system} scheduler {status.scheduler}: {workers}")
    sys.stderr.write(f", dashboard {status.dashboard}\n" if status.dashboard else "\n")
    for difference in status.differences:
        sys.stderr.write(f"warning: {difference}\n")
    rows: list[dict[str, Any]] = []
    for worker in status.workers:
        row = {**asdict(worker), "differences": [str(d) for d in status.differences if d.node == worker.worker]}
        if args.format == "table":
            row |= {"memory": size(worker.memory) if worker.memory else "no limit", "used": size(worker.used)}
        rows.append(row)
    session.show_rows(args, rows, COLUMNS, brief=BRIEF)
    return 0


def _certificates(args: Namespace) -> Certificates | None:
    from cloudmesh_cluster.cluster_setup.dask import Certificates

    files = [getattr(args, name) for name in TLS]
    if not any(files):
        return None
    if not all(files):
        raise UsageError("--tls-ca-file, --tls-cert and --tls-key belong together", hint="give all three")
    return Certificates(*files)


def _address(where: str) -> Any:
    return argument("address", metavar="ADDRESS", help=f"{where}: HOST:PORT, [IPv6]:PORT, or with a scheme in front")


def _number(flag: str, default: int | None, text: str) -> Any:
    return argument(flag, type=whole_number, default=default, metavar="N", help=text)


_LISTEN, _SCHEDULER = _address("where it shall listen"), _address("the scheduler's")
_HOST = argument("--host", metavar="HOST", help="its own address; that of the way to the scheduler if not given")
_PORT = _number("--port", 0, "its own port; any if not given")
_FOLDER = argument("--local-directory", metavar="DIR", completes="file", help="for its files; temporary if not given")
_CERTIFICATES = tuple(
    argument(flag, metavar="FILE", completes="file", help=f"{what}, for tls:// (PEM)")
    for flag, what in (
        ("--tls-ca-file", "the authority's certificate"), ("--tls-cert", "the certificate"), ("--tls-key", "its key"),
    )
)  # fmt: skip


def _limit(seconds: float, what: str) -> Any:
    limited = timeout_argument(what)
    return argument(*limited.flags, **{**limited.options, "default": seconds})


COMMANDS = (
    Command(
        "dask", "scheduler", "run a Dask scheduler until Ctrl-C", dask_scheduler,
        examples=("dask scheduler 127.0.0.1:8786",
                  "dask scheduler tls://10.0.0.1:8786 --tls-ca-file ca.pem --tls-cert a.pem --tls-key a.key"),
        arguments=(
            _LISTEN, _number("--dashboard-port", 8787, "of its web page (8787; another if that is taken)"),
            argument("--no-dashboard", action="store_true", help="no web page"),
            argument("--idle-timeout", type=float, metavar="SECONDS", help="end after so long without work"),
            *_CERTIFICATES, _limit(30.0, "give up when it does not serve by then"),
        ),
    ),
    Command(
        "dask", "worker", "run a Dask worker until Ctrl-C", dask_worker,
        examples=("dask worker 127.0.0.1:8786", "dask worker 10.0.0.1:8786 --cores 4 --memory 8GB --nanny"),
        arguments=(
            _SCHEDULER, argument("--memory", default="auto", metavar="SIZE",
                                 help="bytes, 5GB, 0 for no limit, or auto: its cores' share of all (auto)"),
            _number("--cores", 1, "how many tasks at a time (1)"),
            argument("--nanny", action="store_true", help="have a second process start it again when it dies"),
            argument("--name", metavar="NAME", help="what the scheduler calls it"),
            _HOST, _PORT, _FOLDER, *_CERTIFICATES, _limit(30.0, "give up when it is not registered by then"),
        ),
    ),
    Command(
        "dask", "status", "show the workers of a Dask scheduler, and which differ from here", dask_status,
        columns=COLUMNS, examples=("dask status 127.0.0.1:8786", "dask status 127.0.0.1:8786 -f json"),
        arguments=(_SCHEDULER, *_CERTIFICATES, _limit(10.0, "give up when it does not answer by then")),
    ),
    Command(
        "spark", "scheduler", "run a Spark scheduler until Ctrl-C", spark_scheduler,
        examples=("spark scheduler 127.0.0.1:7077",),
        arguments=(_LISTEN, _number("--dashboard-port", 8080, "of its web page (8080; the next if that is taken)"),
                   _limit(60.0, "give up when it does not serve by then")),
    ),
    Command(
        "spark", "worker", "run a Spark worker until Ctrl-C", spark_worker,
        examples=("spark worker 127.0.0.1:7077", "spark worker 10.0.0.1:7077 --cores 4 --memory 8GB"),
        arguments=(
            _SCHEDULER, argument("--memory", default="auto", metavar="SIZE",
                                 help="bytes or 5GB; auto is all but 1 GiB (auto)"),
            _number("--cores", None, "how many cores applications may have; all if not given"), _HOST, _PORT,
            _number("--dashboard-port", 8081, "of its web page (8081; the next if that is taken)"), _FOLDER,
            _limit(60.0, "give up when it is not registered by then"),
        ),
    ),
    Command(
        "spark", "status", "show the workers of a Spark scheduler", spark_status, columns=COLUMNS,
        examples=("spark status 127.0.0.1:7077", "spark status 127.0.0.1:7077 -f json"),
        arguments=(_SCHEDULER, _number("--dashboard-port", None, "of its web page; looked for if not given")),
    ),
)  # fmt: skip
