"""`cm gc`: what no known cluster owns."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict

from cloudmesh_cluster.cli.commands.arguments import print_warning, yes_argument
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument

BRIEF = ("provider", "kind", "id", "cluster")
COLUMNS = (*BRIEF, "cluster_id")


def collect(args: Namespace, session: Session) -> int:
    """Print what no known cluster owns, or delete it."""
    from cloudmesh_cluster.operations.garbage import find_garbage, remove_garbage

    found = find_garbage(session.home, session.environ, print_warning, provider=args.provider, names=args.names)
    session.show_rows(args, [asdict(each) for each in found], COLUMNS, brief=BRIEF)
    if not found or not args.delete:
        if found and sys.stderr.isatty():
            sys.stderr.write("these may be clusters of other machines: cm cluster import; to delete: cm gc --delete\n")
        return 0
    clusters = sorted({each.cluster for each in found if each.cluster})
    of_clusters = f", of clusters {', '.join(clusters)}" if clusters else ""
    session.confirm(f"Delete these {len(found)} things{of_clusters}?", yes=args.yes)
    session.run([], lambda emit: remove_garbage(session.home, session.environ, found, emit))
    return 0


COMMANDS = (
    Command(
        "gc", "", "list or delete what was made for clusters that are not known here any more", collect,
        columns=COLUMNS,
        examples=("gc", "gc -f json --provider local", "gc --delete -y t"),
        arguments=(
            argument("names", nargs="*", metavar="NAME", help="only what was made for these clusters"),
            argument("--provider", metavar="PROVIDER", completes="provider", help="look there only"),
            argument("--delete", action="store_true", help="delete all that is listed"),
            yes_argument(),
        ),
    ),
)  # fmt: skip
