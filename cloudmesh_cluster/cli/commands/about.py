"""`cm info`, `cm doctor` and `cm run_script`."""

from __future__ import annotations

from argparse import Namespace

from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.core.errors import CmError

INFO_COLUMNS = (
    "version", "python", "platform", "home", "cache", "sqlite", "cloud", "provider", "why", "providers", "clusters"
)  # fmt: skip
DOCTOR_COLUMNS = ("archive", "files")


def info(args: Namespace, session: Session) -> int:
    """Print what this installation is and where it keeps things."""
    from cloudmesh_cluster.config.providers_file import choose_provider
    from cloudmesh_cluster.operations.queries.inspect import information

    record = information(session.home, session.environ)
    try:
        choice = choose_provider(session.home, option=None, profile=None, environ=session.environ)
        record |= {"provider": choice.name, "why": choice.why}
    except CmError as error:  # what is wrong is part of the answer
        record |= {"provider": "", "why": error.message}
    session.show_record(args, record, INFO_COLUMNS)
    return 0


def doctor(args: Namespace, session: Session) -> int:
    """Write one archive with all that support needs, without secrets."""
    from pathlib import Path

    from cloudmesh_cluster.operations.queries.doctor import diagnose

    file = Path(args.output).expanduser() if args.output else None
    archive, contents = session.run([], lambda _: diagnose(session.home, args.name, file, session.environ))
    record = {"archive": str(archive.absolute()), "files": len(contents)}
    session.show_record(args, record, DOCTOR_COLUMNS)
    return 0


def run_script(args: Namespace, session: Session) -> int:
    """Run the lines of a file, up to the first that fails."""
    from cloudmesh_cluster.cli.script import run_lines
    from cloudmesh_cluster.core.files import read_named

    return run_lines(read_named(args.file).decode(errors="replace").splitlines(), session, name=args.file)


COMMANDS = (
    Command("info", "", "show what this installation is and where it keeps things", info, columns=INFO_COLUMNS,
            examples=("info", "info -f json")),
    Command(
        "doctor", "", "write one archive with all that support needs, without secrets", doctor,
        columns=DOCTOR_COLUMNS,
        examples=("doctor", "doctor demo", "doctor demo -o trouble.tar.gz"),
        arguments=(
            argument("name", nargs="?", metavar="NAME", completes="cluster",
                     help="the cluster that is in trouble, whose nodes are asked too"),
            argument("-o", "--output", metavar="FILE", completes="file",
                     help="the archive (default: cm-doctor-NAME-TIME.tar.gz in this folder)"),
        ),
    ),
    Command(
        "run_script", "", "run the lines of a file, up to the first that fails", run_script,
        examples=("run_script setup.cm",),
        arguments=(argument("file", metavar="FILE", completes="file", help="lines as typed into the cm shell"),),
    ),
)  # fmt: skip
