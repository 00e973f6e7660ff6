"""`cm conda create`, `install`, `update`, `remove`, `push`, `list`, `info`, `check`: environments on all nodes."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cli.commands.arguments import NAME, target_argument
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Argument, Command, argument
from cloudmesh_cluster.core.errors import ChecksFailed, UsageError

if TYPE_CHECKING:
    from cloudmesh_cluster.operations.conda.change import EnvironmentRequest

ROOT = "root"
CHANGE_COLUMNS = ("name", "before", "after", "channel")
LIST_COLUMNS = ("nodes", "environment", "name", "version", "build", "channel")
INFO_COLUMNS = (
    "environment", "prefix", "python", "packages", "nodes", "lock", "from", "specs", "channels", "virtual_packages",
    "platform", "fetch", "made_at", "lock_file",
)  # fmt: skip
INFO_BRIEF = ("environment", "prefix", "python", "packages", "nodes", "specs")
CHECK_COLUMNS = ("environment", "what", "item", "expected", "actual", "nodes", "ok")


def create(args: Namespace, session: Session) -> int:
    """Make an environment on nodes."""
    return _change(args, session, _request(args, "create"))


def install(args: Namespace, session: Session) -> int:
    """Add packages to an environment."""
    return _change(args, session, _request(args, "install"))


def update(args: Namespace, session: Session) -> int:
    """Renew an environment's packages."""
    return _change(args, session, _request(args, "update"))


def remove(args: Namespace, session: Session) -> int:
    """Take packages out of an environment, or remove it."""
    if args.all == bool(args.specs):
        hint = f"packages, or --all: cm conda remove {args.name} -n {args.environment} --all"
        raise UsageError("say what to remove", hint=hint)
    return _change(args, session, _request(args, "remove"))


def _request(args: Namespace, action: str) -> EnvironmentRequest:
    from typing import cast

    from cloudmesh_cluster.operations.conda.change import Action, EnvironmentRequest

    channels = tuple(getattr(args, "channels", None) or ())
    return EnvironmentRequest(
        cast("Action", action), args.environment, tuple(args.specs), channels, args.target,
        fetch=getattr(args, "fetch", None),
    )  # fmt: skip


def push(args: Namespace, session: Session) -> int:
    """Bring a local environment to all nodes."""
    from cloudmesh_cluster.operations.conda.sources import read_pushed

    request = read_pushed(args.source, args.environment, channels=tuple(args.channels or ()), target=args.target)
    return _change(args, session, request)


def _change(args: Namespace, session: Session, request: EnvironmentRequest) -> int:
    from cloudmesh_cluster.operations.conda.change import change

    result = session.run([args.name], lambda emit: change(session.home, args.name, request, emit))
    before = {package.name: package for package in result.before.packages} if result.before else {}
    after = {package.name: package for package in result.after.packages} if result.after else {}
    rows = [
        {
            "name": name,
            "before": f"{before[name].version} {before[name].build}" if name in before else "",
            "after": f"{after[name].version} {after[name].build}" if name in after else "",
            "channel": (after.get(name) or before[name]).channel,
        }
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    session.show_rows(args, rows, CHANGE_COLUMNS)
    return 0


def list_packages(args: Namespace, session: Session) -> int:
    """Print the packages that nodes have, equal ones once."""
    from cloudmesh_cluster.operations.conda.compare import list_packages as look

    rows = session.run([args.name], lambda _: look(session.home, args.name, args.environment, target=args.target))
    session.show_rows(args, rows, LIST_COLUMNS)
    return 0


def info(args: Namespace, session: Session) -> int:
    """Print the environments of a cluster."""
    from cloudmesh_cluster.operations.conda.compare import info as look

    session.show_rows(args, look(session.home, args.name), INFO_COLUMNS, brief=INFO_BRIEF)
    return 0


def check(args: Namespace, session: Session) -> int:
    """Prove that environments are the same on all nodes; print what is not, or mend it."""
    if args.venv and args.environment:
        raise UsageError("-n and --venv are two environments", hint="give one of them")
    if args.venv and args.fix:
        raise UsageError("--fix is for environments with a lock; of --venv there is no record", hint="leave one out")
    rows = _compared(args, session)
    if args.fix and not all(row["ok"] for row in rows):
        from cloudmesh_cluster.operations.conda.change import fix

        session.run([args.name], lambda emit: fix(session.home, args.name, rows, emit))
        rows = _compared(args, session)
    session.show_rows(args, rows, CHECK_COLUMNS)
    return 0 if all(row["ok"] for row in rows) else ChecksFailed.exit_code


def _compared(args: Namespace, session: Session) -> list[dict[str, Any]]:
    from cloudmesh_cluster.operations.conda.compare import check as look

    return session.run(
        [args.name],
        lambda _: look(session.home, args.name, args.environment, venv=args.venv, target=args.target),
    )


def _environment(default: str | None, text: str) -> Argument:
    return argument("-n", "--environment", default=default, metavar="ENV", help=text)


_ONE = _environment(ROOT, f"the environment (default: {ROOT})")
_ANY = _environment(None, "the environment (default: all)")
_CHANNEL = argument(
    "-c", "--channel", dest="channels", action="append", metavar="CHANNEL",
    help="look here first: an address, file://, a folder or a name; may be repeated; ${NAME} is a variable",
)  # fmt: skip
_FETCH = argument(
    "--fetch", choices=("client", "head"),
    help="who fetches the packages: this machine or the master (default: as before, or as the profile says)",
)  # fmt: skip
_TARGET = target_argument(default=None)
_SPECS = argument("specs", nargs="+", metavar="SPEC", help="packages, such as python=3.11 or 'numpy>=1.26'")
_COLUMN = ("--column",)

COMMANDS = (
    Command(
        "conda", "create", "make an environment: solved once, the same on every node", create,
        columns=CHANGE_COLUMNS, column_flags=_COLUMN,
        examples=(
            "conda create demo -n py311 python=3.11 numpy", "conda create demo -n r -c conda-forge r-base",
            "conda create demo --fetch head python=3.11",
        ),
        arguments=(NAME, _ONE, _CHANNEL, _TARGET, _FETCH, _SPECS),
    ),
    Command(
        "conda", "install", "add packages to an environment on all its nodes", install,
        columns=CHANGE_COLUMNS, column_flags=_COLUMN,
        examples=("conda install demo -n py311 scipy", "conda install demo python=3.11"),
        arguments=(NAME, _ONE, _CHANNEL, _TARGET, _FETCH, _SPECS),
    ),
    Command(
        "conda", "update", "renew all packages of an environment, or some", update,
        columns=CHANGE_COLUMNS, column_flags=_COLUMN,
        examples=("conda update demo -n py311", "conda update demo numpy -n py311"),
        arguments=(
            NAME, _ONE, _CHANNEL, _TARGET, _FETCH,
            argument("specs", nargs="*", metavar="PACKAGE", help="packages (default: all)"),
        ),
    ),
    Command(
        "conda", "remove", "take packages out of an environment, or remove it", remove,
        columns=CHANGE_COLUMNS, column_flags=_COLUMN,
        examples=("conda remove demo scipy -n py311", "conda remove demo -n py311 --all"),
        arguments=(
            NAME, _ONE, _TARGET, argument("--all", action="store_true", help="the whole environment"),
            argument("specs", nargs="*", metavar="PACKAGE", help="packages that were asked for"),
        ),
    ),
    Command(
        "conda", "push", "bring a local environment to all nodes", push,
        columns=CHANGE_COLUMNS, column_flags=_COLUMN,
        examples=("conda push demo environment.yml", "conda push demo ~/envs/work -n work"),
        arguments=(
            NAME, argument("source", metavar="ENVIRONMENT.yml|PREFIX", completes="file", help="a file, or a folder"),
            _environment(None, "the environment on the nodes (default: as it is called here)"), _CHANNEL, _TARGET,
        ),
    ),
    Command(
        "conda", "list", "list the packages that nodes have, equal answers folded", list_packages,
        columns=LIST_COLUMNS, column_flags=_COLUMN, examples=("conda list demo", "conda list demo -n py311 -f json"),
        arguments=(NAME, _ANY, _TARGET),
    ),
    Command(
        "conda", "info", "show the environments of a cluster and their locks", info,
        columns=INFO_COLUMNS, column_flags=_COLUMN, examples=("conda info demo", "conda info demo -f json"),
        arguments=(NAME,),
    ),
    Command(
        "conda", "check", "prove that environments are the same on all nodes", check,
        columns=CHECK_COLUMNS, column_flags=_COLUMN,
        examples=("conda check demo", "conda check demo --fix", "conda check demo --venv /opt/tools"),
        arguments=(
            NAME, _ANY, _TARGET, argument("--venv", metavar="PATH", help="a plain virtual environment on the nodes"),
            argument("--fix", action="store_true", help="bring an environment once more to nodes that have it damaged"),
        ),
    ),
)  # fmt: skip
