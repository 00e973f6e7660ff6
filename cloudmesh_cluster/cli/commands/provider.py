"""`cm provider list`, `check`."""

from __future__ import annotations

import sys
from argparse import Namespace

from cloudmesh_cluster.cli.commands.arguments import OS_CLOUD
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.core.errors import CmError, InvalidInput

COLUMNS = ("name", "type", "default", "why")
CHECK_COLUMNS = ("provider", "severity", "where", "what", "hint")


def list_providers(args: Namespace, session: Session) -> int:
    """Print all providers, and which one is used when none is named."""
    from cloudmesh_cluster.config.providers_file import TYPES, choose_provider, load_providers

    named: dict[str, str] = {name: entry.type for name, entry in load_providers(session.home).entries.items()}
    known: dict[str, str] = {each: each for each in TYPES} | named
    try:
        choice = choose_provider(session.home, option=None, profile=None, environ=session.environ)
        used, why = choice.name, choice.why
    except CmError as error:  # the list is wanted all the same, to choose another one
        sys.stderr.write(f"warning: {error.message}\n")
        used, why = "", ""
    rows = [
        {"name": name, "type": kind, "default": name == used, "why": why if name == used else ""}
        for name, kind in known.items()
    ]
    session.show_rows(args, rows, COLUMNS)
    return 0


def check(args: Namespace, session: Session) -> int:
    """Print what keeps a provider from working here; 2 when something does."""
    from cloudmesh_cluster.config.profile import profile_named
    from cloudmesh_cluster.operations.plan import chosen_provider

    profile = profile_named(session.home, args.profile)
    choice, provider = chosen_provider(
        session.home, profile, option=args.name, environ=session.environ, openstack={"os_cloud": args.os_cloud}
    )
    problems, warnings = provider.preflight(provider.complete(profile), needs_internet=False)
    rows = [
        *({"severity": "problem", "where": p.where, "what": p.what, "hint": p.hint} for p in problems),
        *({"severity": "warning", "where": "", "what": text, "hint": ""} for text in warnings),
    ]
    session.show_rows(args, [{"provider": choice.name, **row} for row in rows], CHECK_COLUMNS)
    if problems:
        raise InvalidInput(problems)
    return 0


COMMANDS = (
    Command("provider", "list", "list all providers", list_providers, columns=COLUMNS, examples=("provider list",)),
    Command(
        "provider", "check", "find what keeps a provider from working here", check, columns=CHECK_COLUMNS,
        examples=(
            "provider check", "provider check local", "provider check bare_metal -p demo-cluster",
            "provider check openstack --os-cloud mycloud",
        ),
        arguments=(
            argument("name", nargs="?", metavar="PROVIDER", completes="provider", help="the provider"),
            argument("-p", "--profile", default="default", metavar="PROFILE", completes="profile",
                     help="look at what this profile needs, such as its machines (default: 'default')"),
            OS_CLOUD,
        ),
    ),
)  # fmt: skip
