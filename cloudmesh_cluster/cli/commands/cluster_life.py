"""`cm cluster create`, `scale`, `replace`, `resume` and `delete`: what makes and unmakes clusters and nodes."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh_cluster.cli.commands.arguments import (
    NAME,
    OS_CLOUD,
    TRUST_ON_FIRST_USE,
    print_warning,
    show_summary,
    timeout_argument,
    whole_number,
    yes_argument,
)
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.views.columns import NODE_COLUMNS

if TYPE_CHECKING:
    from cloudmesh_cluster.core.events import Event
    from cloudmesh_cluster.operations.plan import CreateRequest

PREVIEW_COLUMNS = ("action", "name", "role", "private_ip", "provider_id")


def create(args: Namespace, session: Session) -> int:
    """Make a cluster, or show what would be made."""
    from cloudmesh_cluster.operations.plan import CreateRequest

    request = CreateRequest(
        name=args.name,
        profile=args.profile,
        provider=args.provider,
        workers=args.workers,
        image=args.image,
        flavor=args.flavor,
        floating_ip=args.floating_ip,
        os_cloud=args.os_cloud,
        settings=tuple(args.set or ()),
        on_failure=args.on_failure,
        timeout=args.timeout,
        trust_on_first_use=args.trust_on_first_use,
    )
    if args.output and not args.dry_run:
        raise UsageError("--output goes with --dry-run: files are written instead of making the cluster")
    if args.dry_run:
        return _show_plan(args, session, request)
    from cloudmesh_cluster.operations.create import create as make
    from cloudmesh_cluster.operations.plan import misnamed, requested_profile
    from cloudmesh_cluster.plugins.resolve import resolve

    if (doubt := misnamed(session.home, request)) and sys.stdin.isatty():
        session.confirm(f"{doubt[0].upper()}{doubt[1:]}. Go on?", yes=args.yes)
    ask = session.ask_secrets(resolve(requested_profile(session.home, request).plugins, session.home))
    summary = session.run([args.name], lambda emit: make(session.home, request, session.environ, emit, ask=ask))
    return show_summary(summary, session, args.format)


def _show_plan(args: Namespace, session: Session, request: CreateRequest) -> int:
    from cloudmesh_cluster.operations.create import rehearse
    from cloudmesh_cluster.operations.plan import make_plan
    from cloudmesh_cluster.operations.queries.totals import totals
    from cloudmesh_cluster.views.summary import plan_as

    plan = make_plan(session.home, request, session.environ)
    refused: UsageError | None = None
    try:
        rehearse(session.home, plan, _print_warnings)
    except UsageError as error:
        refused = error  # the plan is shown all the same
    sums = totals(session.home, plan) if refused is None else None
    if args.output and refused is None:
        from cloudmesh_cluster.operations.template_files import write_template_files

        files = write_template_files(session.home, plan, Path(args.output).expanduser())
        sys.stderr.write(f"written to {files.folder}; to make the stack there: {files.command}\n")
    sys.stdout.write(plan_as(args.format, plan, sums))
    if refused is not None:
        raise refused
    return 0


def _print_warnings(event: Event) -> None:
    if event.kind == "warning":
        print_warning(event.message)


def scale(args: Namespace, session: Session) -> int:
    """Add or remove workers, or show which."""
    if args.dry_run:
        return _show_preview(args, session)
    from cloudmesh_cluster.operations.scale import scale as change

    summary = session.run(
        [args.name],
        lambda emit: change(
            session.home, args.name, args.count, emit,
            machines=args.machines, timeout=args.timeout, trust_on_first_use=args.trust_on_first_use,
        ),
    )  # fmt: skip
    return show_summary(summary, session, args.format)


def _show_preview(args: Namespace, session: Session) -> int:
    from cloudmesh_cluster.operations.scale import preview
    from cloudmesh_cluster.views.formats import rows_as, terminal_width

    session.result = [
        {"action": action, **{name: getattr(node, name) for name in PREVIEW_COLUMNS[1:]}}
        for action, node in preview(session.home, args.name, args.count, machines=args.machines)
    ]
    sys.stdout.write(rows_as(args.format, session.result, PREVIEW_COLUMNS, width=terminal_width()))
    return 0


def replace(args: Namespace, session: Session) -> int:
    """Make a node anew."""
    from cloudmesh_cluster.operations.scale import replace as renew

    summary = session.run(
        [args.name],
        lambda emit: renew(
            session.home, args.name, args.node, emit,
            timeout=args.timeout, trust_on_first_use=args.trust_on_first_use,
        ),
    )  # fmt: skip
    return show_summary(summary, session, args.format)


def resume(args: Namespace, session: Session) -> int:
    """Finish what was interrupted."""
    from cloudmesh_cluster.operations.resume import resume as finish
    from cloudmesh_cluster.operations.resume import unfinished

    kind = unfinished(session.home, args.name).kind
    sys.stderr.write(f"{args.name}: going on with its {kind}\n")
    if kind == "delete":
        session.confirm(f"Delete {args.name} with everything on the nodes?", yes=args.yes)
    summary = session.run(
        [args.name],
        lambda emit: finish(session.home, args.name, emit, timeout=args.timeout, deletes=kind == "delete"),
    )
    return show_summary(summary, session, args.format)


def import_(args: Namespace, session: Session) -> int:
    """Make a cluster known here that another machine has made."""
    from cloudmesh_cluster.operations.importing import import_cluster

    key = Path(args.key).expanduser() if args.key else None
    imported = session.run(
        [args.name],
        lambda emit: import_cluster(
            session.home, args.name, emit,
            key=key, environ=session.environ, provider=args.provider, os_cloud=args.os_cloud,
        ),
    )  # fmt: skip
    session.show_rows(args, [asdict(node) for node in imported.nodes], NODE_COLUMNS)
    return 0


def delete(args: Namespace, session: Session) -> int:
    """Remove clusters; what is gone already is no error."""
    from cloudmesh_cluster.state.store import State

    with State(session.home) as state:
        there = [name for name in state.cluster_names() if name in args.names]
    if there:
        session.confirm(f"Delete {', '.join(there)} with everything on the nodes?", yes=args.yes)
    from cloudmesh_cluster.operations.delete import delete as remove

    session.run(args.names, lambda emit: remove(session.home, args.names, emit, force=args.force))
    return 0


SUMMARY_FORMAT = argument(
    "-f", "--format", choices=("table", "json", "yaml"), default="table", help="how to print the summary, or the plan"
)

COMMANDS = (
    Command(
        "cluster", "create", "make a cluster and prove that it works", create,
        examples=(
            "cluster create hadoop",
            "cluster create t --provider local -n 3",
            "cluster create h2 -p hadoop --set hadoop.replication=2 --on-failure keep",
            "cluster create h3 -p ./my-profile.yaml --dry-run",
            "cluster create t --provider openstack --os-cloud mycloud --floating-ip all",
            "cluster create t --provider openstack --image debian-12 --flavor m1.small --dry-run --output files",
        ),
        arguments=(
            argument("name", metavar="NAME", help="its name: a letter, then letters, digits and -; 30 at most"),
            argument("-p", "--profile", metavar="PROFILE", completes="profile",
                     help="a profile's name or file (default: the profile called NAME, else 'default')"),
            argument("--provider", metavar="PROVIDER", completes="provider", help="where the nodes come from"),
            argument("-n", "--workers", type=whole_number, metavar="WORKERS", help="how many workers"),
            argument("--image", metavar="IMAGE", help="the image of all nodes"),
            argument("--flavor", metavar="FLAVOR", help="the size of all nodes"),
            argument("--floating-ip", choices=("master", "all", "none"),
                     help="which nodes get one, on OpenStack (default: providers.yaml, else master)"),
            OS_CLOUD,
            argument("--set", action="append", metavar="KEY=VALUE",
                     help="change a setting of the profile or of a plugin; may be repeated"),
            argument("--on-failure", choices=("rollback", "keep"), default="rollback",
                     help="what to do with what was made when something fails (default: rollback)"),
            argument("--dry-run", action="store_true", help="check and print what would be done, and do nothing"),
            argument("--output", metavar="DIR", completes="file",
                     help="with --dry-run, on OpenStack: write template and parameters of the stack, and a key"),
            TRUST_ON_FIRST_USE,
            timeout_argument("give up after this time"),
            SUMMARY_FORMAT,
            yes_argument(),
        ),
    ),
    Command(
        "cluster", "scale", "add or remove workers", scale,
        examples=(
            "cluster scale hadoop 5", "cluster scale hadoop +2", "cluster scale hadoop -1",
            "cluster scale hadoop 5 --dry-run", "cluster scale demo --machine 172.31.55.78",
        ),
        arguments=(
            NAME,
            argument("count", nargs="?", metavar="N|+N|-N", help="the number of workers, or how many more or fewer"),
            argument("--machine", dest="machines", action="append", default=[], metavar="ADDRESS[:PORT]",
                     help="on baremetal: this machine becomes a worker, also if the profile lacks it; may be repeated"),
            argument("--dry-run", action="store_true", help="say which nodes would come, go and stay, and do nothing"),
            TRUST_ON_FIRST_USE,
            timeout_argument("give up after this time"),
            SUMMARY_FORMAT,
        ),
    ),
    Command(
        "cluster", "replace", "make a node anew: same name, same role, fresh disk", replace,
        examples=("cluster replace hadoop worker-2", "cluster replace hadoop worker-2 --timeout 10m"),
        arguments=(
            NAME,
            argument("node", metavar="NODE", completes="node", help="the node"),
            TRUST_ON_FIRST_USE,
            timeout_argument("give up after this time"),
            SUMMARY_FORMAT,
        ),
    ),
    Command(
        "cluster", "resume", "finish an operation that was interrupted", resume,
        examples=("cluster resume hadoop", "cluster resume hadoop --timeout 10m"),
        arguments=(NAME, timeout_argument("give up after this time"), SUMMARY_FORMAT, yes_argument()),
    ),
    Command(
        "cluster", "import", "make a cluster known here that another machine has made in a cloud", import_,
        columns=NODE_COLUMNS,
        examples=("cluster import t --key id_ed25519", "cluster import t --key id_ed25519 --os-cloud mycloud"),
        arguments=(
            argument("name", metavar="NAME", help="the cluster, as cm cluster list --remote shows it"),
            argument("--key", metavar="FILE", completes="file",
                     help="its login key (default: the one in the cluster's folder, if that is there)"),
            argument("--provider", metavar="PROVIDER", completes="provider", help="the cloud that has it"),
            OS_CLOUD,
        ),
    ),
    Command(
        "cluster", "delete", "remove clusters with everything on their nodes", delete,
        examples=("cluster delete t", "cluster delete t1 t2 -y", "cluster delete broken --force -y"),
        arguments=(
            argument("names", nargs="+", metavar="NAME", completes="cluster", help="the clusters"),
            argument("--force", action="store_true", help="go on where something cannot be removed in good order"),
            yes_argument(),
        ),
    ),
)  # fmt: skip
