"""`cm cluster list`, `show`, `nodes`, `status`, `history`, `events`, `scripts`, `inventory`, `verify`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cli.commands.arguments import NAME, print_warning, whole_number
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.core.errors import ChecksFailed, UsageError
from cloudmesh_cluster.views.columns import (
    CHECK_COLUMNS,
    CLUSTER_COLUMNS,
    EVENT_COLUMNS,
    HISTORY_COLUMNS,
    NODE_COLUMNS,
    NODE_DETAILS,
    REMOTE_CLUSTER_COLUMNS,
    SCRIPT_COLUMNS,
    STATUS_COLUMNS,
    cluster_row,
)

if TYPE_CHECKING:
    from cloudmesh_cluster.core.model import CheckResult, Cluster

REMOTE_COLUMNS = (*REMOTE_CLUSTER_COLUMNS, "known")
SHOWN_COLUMNS = (*CLUSTER_COLUMNS, "cluster_id", "project")


def list_clusters(args: Namespace, session: Session) -> int:
    """Print all clusters: those known here, or those that the clouds have."""
    if args.remote:
        return _list_remote(args, session)
    if args.provider:
        raise UsageError("--provider goes with --remote: it says which cloud to ask")
    if "known" in (args.column or ()):
        raise UsageError("the column known goes with --remote: all others are known")
    from cloudmesh_cluster.operations.queries.inspect import clusters

    found = clusters(session.home)
    rows = [_row(args, each) for each in found]
    session.show_rows(args, rows, CLUSTER_COLUMNS, brief=(*REMOTE_CLUSTER_COLUMNS, "verified"))
    session.result = [cluster_row(each) for each in found]
    if not rows and sys.stderr.isatty():
        sys.stderr.write("no clusters yet; make one: cm cluster create NAME\n")
    return 0


def _row(args: Namespace, found: Cluster) -> dict[str, Any]:
    """Return a cluster as a row; for people its state says how many checks failed."""
    row = cluster_row(found)
    return row | {"state": found.standing} if args.format == "table" else row


def _list_remote(args: Namespace, session: Session) -> int:
    from cloudmesh_cluster.operations.queries.clouds import remote_clusters

    rows = remote_clusters(session.home, session.environ, print_warning, provider=args.provider)
    session.show_rows(args, [asdict(each) for each in rows], REMOTE_COLUMNS)
    return 0


def show(args: Namespace, session: Session) -> int:
    """Print one cluster."""
    from cloudmesh_cluster.operations.queries.inspect import cluster, marks

    found = cluster(session.home, args.name)
    cluster_id, project = marks(session.home, args.name)
    row = {**_row(args, found), "cluster_id": cluster_id, "project": project}
    session.show_record(args, row, SHOWN_COLUMNS)
    session.result = {**cluster_row(found), "cluster_id": cluster_id, "project": project}
    return 0


def nodes(args: Namespace, session: Session) -> int:
    """Print the nodes of a cluster."""
    from cloudmesh_cluster.operations.queries.inspect import cluster

    rows = [asdict(each) for each in cluster(session.home, args.name).nodes]
    session.show_rows(args, rows, NODE_DETAILS, usual=NODE_COLUMNS)
    return 0


def status(args: Namespace, session: Session) -> int:
    """Print the state of plugins' services on each node."""
    from cloudmesh_cluster.operations.services import status as status_of

    rows = session.run([args.name], lambda emit: status_of(session.home, args.name, args.plugin, emit))
    session.show_rows(args, rows, STATUS_COLUMNS)
    return 0 if all(row["ok"] for row in rows) else ChecksFailed.exit_code


def history(args: Namespace, session: Session) -> int:
    """Print the operations of a cluster, or of all."""
    from cloudmesh_cluster.operations.queries.inspect import history as history_of

    session.show_rows(args, history_of(session.home, args.name), HISTORY_COLUMNS)
    return 0


def events(args: Namespace, session: Session) -> int:
    """Print what happened on a cluster, here and in its cloud."""
    from cloudmesh_cluster.operations.queries.inspect import events as events_of

    rows, problem = events_of(session.home, args.name)
    if problem:
        print_warning(f"without the cloud's own events: {problem}")
    session.show_rows(args, rows, EVENT_COLUMNS)
    return 0


def scripts(args: Namespace, session: Session) -> int:
    """Print which scripts are remembered, or one of them."""
    from cloudmesh_cluster.operations.queries.inspect import script_text
    from cloudmesh_cluster.operations.queries.inspect import scripts as scripts_of

    if args.show is not None:
        sys.stdout.write(script_text(session.home, args.name, args.show).decode(errors="replace"))
        return 0
    session.show_rows(args, scripts_of(session.home, args.name, args.role), SCRIPT_COLUMNS)
    return 0


def inventory(args: Namespace, session: Session) -> int:
    """Print a cluster's nodes for other tools."""
    from cloudmesh_cluster.operations.queries.inspect import inventory as inventory_of

    sys.stdout.write(inventory_of(session.home, args.name, args.form))
    return 0


def verify(args: Namespace, session: Session) -> int:
    """Run all checks of a cluster and print what they found."""
    from cloudmesh_cluster.operations.verify import verify as check
    from cloudmesh_cluster.views.summary import checks_table

    failed = None
    try:
        results = session.run(
            [args.name],
            lambda emit: check(session.home, args.name, emit, full_mesh=args.full_mesh, once=args.now),
        )
    except ChecksFailed as error:
        results, failed = list(error.results), error
    if args.junit:
        _write_junit(args.junit, args.name, results)
    if args.format == "table" and not args.column:
        session.result = [asdict(each) for each in results]
        sys.stdout.write(checks_table(results) + "\n")
    else:
        session.show_rows(args, [asdict(each) for each in results], CHECK_COLUMNS)
    if failed is not None:
        raise failed
    return 0


def _write_junit(path: str, cluster: str, results: Sequence[CheckResult]) -> None:
    from cloudmesh_cluster.core.files import write_named
    from cloudmesh_cluster.views.junit import junit_xml

    try:
        write_named(Path(path).expanduser(), junit_xml(results, cluster=cluster).encode(), mode=0o644)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


COMMANDS = (
    Command(
        "cluster", "list", "list all clusters", list_clusters, columns=(*CLUSTER_COLUMNS, "known"),
        examples=("cluster list", "cluster list -f json", "cluster list -f value -c name", "cluster list --remote"),
        arguments=(
            argument("--remote", action="store_true", help="ask the clouds: clusters of other machines, too"),
            argument("--provider", metavar="PROVIDER", completes="provider", help="with --remote: ask this cloud only"),
        ),
    ),
    Command(
        "cluster", "show", "show one cluster", show, columns=SHOWN_COLUMNS,
        examples=("cluster show hadoop", "cluster show hadoop -f value -c state"), arguments=(NAME,),
    ),
    Command(
        "cluster", "nodes", "list the nodes of a cluster", nodes, columns=NODE_DETAILS,
        examples=("cluster nodes hadoop", "cluster nodes hadoop -f value -c name -c private_ip",
                  "cluster nodes hadoop -c name -c host_key_from"), arguments=(NAME,),
    ),
    Command(
        "cluster", "status", "show what runs on each node", status, columns=STATUS_COLUMNS,
        examples=("cluster status hadoop", "cluster status h2 hadoop -f json"),
        arguments=(NAME, argument("plugin", nargs="?", metavar="PLUGIN", completes="plugin", help="only this plugin")),
    ),
    Command(
        "cluster", "history", "list the operations of a cluster, or of all, deleted ones too", history,
        columns=HISTORY_COLUMNS, examples=("cluster history", "cluster history hadoop -f json"),
        arguments=(argument("name", nargs="?", metavar="NAME", completes="cluster", help="the cluster"),),
    ),
    Command(
        "cluster", "events", "list what happened on a cluster", events, columns=EVENT_COLUMNS,
        examples=("cluster events hadoop", "cluster events hadoop -f json -c at -c message"), arguments=(NAME,),
    ),
    Command(
        "cluster", "scripts", "list the scripts that new nodes will run too, or show one", scripts,
        columns=SCRIPT_COLUMNS,
        examples=("cluster scripts t", "cluster scripts t worker -f json", "cluster scripts t --show 2"),
        arguments=(
            NAME,
            argument("role", nargs="?", metavar="ROLE", completes="role", help="only scripts of this role"),
            argument("--show", type=whole_number, metavar="N", help="print the script of this number"),
        ),
    ),
    Command(
        "cluster", "verify", "run all checks and show what they find", verify, columns=CHECK_COLUMNS,
        examples=("cluster verify hadoop", "cluster verify hadoop --now",
                  "cluster verify hadoop --junit report.xml --full-mesh"),
        arguments=(
            NAME,
            argument("--junit", metavar="FILE", completes="file", help="write the results as JUnit XML too"),
            argument("--full-mesh", action="store_true", help="check SSH between all pairs of nodes"),
            argument("--now", action="store_true", help="try each check once, don't wait for what may still come up"),
        ),
    ),
    Command(
        "cluster", "inventory", "print the nodes for other tools", inventory,
        examples=("cluster inventory t -F ansible > hosts.ini", "cluster inventory t -F ssh >> ~/.ssh/config"),
        arguments=(
            NAME,
            argument("-F", "--form", choices=("ansible", "ssh", "hosts", "nodeset"), default="ansible",
                     help="for which tool (default: ansible)"),
        ),
    ),
)  # fmt: skip
