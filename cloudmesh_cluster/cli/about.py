"""`cm info` and `cm run_script`."""

from __future__ import annotations

from argparse import Namespace

from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument

INFO_COLUMNS = ("version", "python", "home", "cache", "clusters", "provider", "why")


def info(args: Namespace, session: Session) -> int:
    """Print what this installation is and where it keeps things."""
    from cloudmesh_cluster.operations.inspect import info as facts

    session.show_record(args, facts(session.home, session.environ), INFO_COLUMNS)
    return 0


def run_script(args: Namespace, session: Session) -> int:
    """Run the lines of a file, up to the first that fails."""
    from cloudmesh_cluster.cli.common import read_bytes
    from cloudmesh_cluster.cli.script import run_lines

    return run_lines(read_bytes(args.file).decode(errors="replace").splitlines(), session, name=args.file)


COMMANDS = (
    Command("info", "", "show what this installation is and where it keeps things", info, columns=INFO_COLUMNS,
            examples=("info", "info -f json")),
    Command(
        "run_script", "", "run the lines of a file, up to the first that fails", run_script,
        examples=("run_script setup.cm",),
        arguments=(argument("file", metavar="FILE", completes="file", help="lines as typed into the cm shell"),),
    ),
)  # fmt: skip
