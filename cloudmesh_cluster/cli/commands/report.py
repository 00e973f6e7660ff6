"""`cm cluster report`: where the time of an operation went, as rows or as a page."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from cloudmesh_cluster.cli.commands.arguments import NAME
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.core.version import __version__

COLUMNS = ("node", "step", "begin", "seconds", "state", "decisive", "waited_for")


def report(args: Namespace, session: Session) -> int:
    """Print what an operation did when, or write it as a page."""
    from cloudmesh_cluster.operations.queries.report import report as report_of

    found = report_of(session.home, args.name, args.operation)
    if args.html is None:
        rows = [{**vars(bar), "seconds": bar.seconds} for bar in found.timeline.bars]
        session.show_rows(args, rows, COLUMNS)
        return 0
    from cloudmesh_cluster.views.pages import report_html, write_page

    write_page(Path(args.html).expanduser(), report_html(found, version=__version__))
    return 0


COMMANDS = (
    Command(
        "cluster", "report", "show where the time of an operation went, or write it as a web page", report,
        columns=COLUMNS,
        examples=("cluster report hadoop", "cluster report hadoop --html hadoop.html",
                  "cluster report t --operation 20260102T030405-create-1a2b -f json"),
        arguments=(
            NAME,
            argument("--html", metavar="FILE", completes="file", help="write one self-contained page instead"),
            argument("--operation", metavar="ID", help="which operation (default: the last that changed something)"),
        ),
    ),
)  # fmt: skip
