"""`cm provider list`, `check`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.errors import InvalidInput

COLUMNS = ("name", "type", "default", "why")
CHECK_COLUMNS = ("where", "what", "hint")


def list_providers(args: Namespace, session: Session) -> int:
    """Print all providers, and which one is used when none is named."""
    from cloudmesh_cluster.operations.inspect import providers

    rows: list[dict[str, Any]] = providers(session.home, session.environ)
    session.show_rows(args, rows, COLUMNS)
    return 0


def check(args: Namespace, session: Session) -> int:
    """Print what keeps a provider from working here; 2 when something does."""
    from cloudmesh_cluster.operations.inspect import check_provider

    problems, warnings = check_provider(session.home, args.name, session.environ)
    session.show_rows(args, [{"where": "warning", "what": text, "hint": ""} for text in warnings], CHECK_COLUMNS)
    if problems:
        raise InvalidInput(problems)
    return 0


COMMANDS = (
    Command("provider", "list", "list all providers", list_providers, columns=COLUMNS, examples=("provider list",)),
    Command(
        "provider", "check", "find what keeps a provider from working here", check, columns=CHECK_COLUMNS,
        examples=("provider check", "provider check local"),
        arguments=(argument("name", nargs="?", metavar="PROVIDER", completes="provider", help="the provider"),),
    ),
)  # fmt: skip
