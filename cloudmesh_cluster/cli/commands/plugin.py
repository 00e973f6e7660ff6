"""`cm plugin list`, `show`, `fetch`."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument

if TYPE_CHECKING:
    from cloudmesh_cluster.plugins.model import Plugin

COLUMNS = ("name", "version", "description", "folder")
SHOW_COLUMNS = (
    "name", "version", "description", "folder", "requires", "packages", "needs_internet", "settings", "ports", "checks",
)  # fmt: skip
FETCH_COLUMNS = ("plugin", "payload")


def list_plugins(args: Namespace, session: Session) -> int:
    """Print all plugins."""
    from cloudmesh_cluster.plugins.reader import find_plugins, load_plugin

    folders = [folder for _, folder in sorted(find_plugins(session.home).items())]
    session.show_rows(args, [_row(load_plugin(folder)) for folder in folders], COLUMNS)
    return 0


def show(args: Namespace, session: Session) -> int:
    """Print what a plugin takes, needs, opens and checks."""
    from cloudmesh_cluster.core.errors import NotFound
    from cloudmesh_cluster.plugins.reader import find_plugins, load_plugin

    known = find_plugins(session.home)
    if args.name not in known:
        raise NotFound("plugin", args.name, sorted(known))
    session.show_record(args, _row(load_plugin(known[args.name])), SHOW_COLUMNS)
    return 0


def fetch(args: Namespace, session: Session) -> int:
    """Fetch what a plugin installs into the cache, as the first cluster that has it would."""
    from cloudmesh_cluster.core.model import PluginUse
    from cloudmesh_cluster.plugins.payloads import fetch as into_cache
    from cloudmesh_cluster.plugins.resolve import resolve

    chosen = next(each for each in resolve([PluginUse(args.name)], session.home) if each.plugin.name == args.name)
    path = into_cache(chosen, session.home, _tell)
    session.show_record(args, {"plugin": args.name, "payload": None if path is None else str(path)}, FETCH_COLUMNS)
    return 0


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _row(plugin: Plugin) -> dict[str, Any]:
    return {**asdict(plugin), "folder": str(plugin.folder)}


COMMANDS = (
    Command("plugin", "list", "list all plugins", list_plugins, columns=COLUMNS, examples=("plugin list",)),
    Command(
        "plugin", "show", "show what a plugin takes, needs, opens and checks", show, columns=SHOW_COLUMNS,
        examples=("plugin show hadoop", "plugin show hadoop -f json -c settings"),
        arguments=(argument("name", metavar="PLUGIN", completes="plugin", help="the plugin"),),
    ),
    Command(
        "plugin", "fetch", "fetch what a plugin installs into the cache, once for all clusters", fetch,
        columns=FETCH_COLUMNS, examples=("plugin fetch hadoop", "plugin fetch spark -f value -c payload"),
        arguments=(argument("name", metavar="PLUGIN", completes="plugin", help="the plugin"),),
    ),
)  # fmt: skip
