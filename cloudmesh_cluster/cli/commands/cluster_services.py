"""`cm cluster install`, `uninstall`, `start`, `stop`, `restart`, `open`: what runs on a cluster."""

from __future__ import annotations

import html
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cloudmesh_cluster.cli.commands.arguments import NAME, show_summary
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.core.errors import Interrupted
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.files import write_atomically
from cloudmesh_cluster.core.home import Home

if TYPE_CHECKING:
    from cloudmesh_cluster.operations.tunnels import Page

PAGE_COLUMNS = ("name", "node", "address")
Work = Callable[[Home, str, Sequence[str], Emit], Awaitable[object]]


def _run(args: Namespace, session: Session, work: Work) -> int:
    summary = session.run([args.name], lambda emit: work(session.home, args.name, args.plugins, emit))
    return show_summary(summary, session)


def install(args: Namespace, session: Session) -> int:
    """Install plugins on a running cluster."""
    from cloudmesh_cluster.core.model import PluginUse
    from cloudmesh_cluster.operations import services
    from cloudmesh_cluster.plugins.resolve import resolve

    wanted = resolve([PluginUse(name) for name in args.plugins], session.home)
    ask = session.ask_secrets([each for each in wanted if each.plugin.name in args.plugins])
    return _run(args, session, partial(services.install, ask=ask))


def uninstall(args: Namespace, session: Session) -> int:
    """Remove plugins from a cluster."""
    from cloudmesh_cluster.operations import services

    return _run(args, session, services.uninstall)


def start(args: Namespace, session: Session) -> int:
    """Start plugins, or the nodes themselves."""
    from cloudmesh_cluster.operations import services

    return _run(args, session, services.start)


def stop(args: Namespace, session: Session) -> int:
    """Stop plugins, or the nodes themselves."""
    from cloudmesh_cluster.operations import services

    return _run(args, session, services.stop)


def restart(args: Namespace, session: Session) -> int:
    """Restart plugins, or the nodes themselves."""
    from cloudmesh_cluster.operations import services

    return _run(args, session, services.restart)


def look_at_pages(args: Namespace, session: Session) -> int:
    """Look at pages of a cluster through SSH tunnels, which close with the command."""
    from cloudmesh_cluster.operations.tunnels import open_pages

    session.home.make()
    with TemporaryDirectory(dir=session.home.root, prefix="open-") as folder:

        def show(pages: Sequence[Page]) -> None:
            session.show_rows(args, [asdict(page) for page in pages], PAGE_COLUMNS)
            sys.stdout.flush()
            if not args.no_browser and not _browse([_private(page, Path(folder)) for page in pages]):
                sys.stderr.write("cm: there is no browser here: open the addresses yourself\n")
            sys.stderr.write("cm: the tunnels are open, for you alone, until Ctrl-C\n")

        try:
            session.run(
                [args.name],
                lambda _: open_pages(session.home, args.name, args.page or "", show, _say_refused),
                stopping="closed",
            )
        except Interrupted:  # the way to end it, as with `kubectl port-forward`
            return 0
    return 0


def _private(page: Page, folder: Path) -> str:
    """Return an address for the browser's command line, which everybody on this machine can read.

    A page with a token is found by way of a file that only this user can read, as Jupyter does.
    """
    if "?" not in page.address:
        return page.address
    file = folder / f"{page.name}-{page.node}.html"
    redirect = f'<meta http-equiv="refresh" content="0; url={html.escape(page.address)}">\n'
    write_atomically(file, redirect.encode())
    return file.as_uri()


def _browse(addresses: Sequence[str]) -> bool:
    import webbrowser

    return all(webbrowser.open_new_tab(address) for address in addresses)


def _say_refused(uid: int | None) -> None:
    who = "somebody who hung up" if uid is None else f"user id {uid}"
    sys.stderr.write(f"cm: refused a connection of {who}: the tunnels serve you alone\n")


_SOME = argument("plugins", nargs="+", metavar="PLUGIN", completes="plugin", help="the plugins")
_ANY = argument("plugins", nargs="*", metavar="PLUGIN", completes="plugin", help="the plugins (default: the nodes too)")

COMMANDS = (
    Command(
        "cluster", "install", "install plugins on a cluster", install,
        examples=("cluster install t hadoop",), arguments=(NAME, _SOME),
    ),
    Command(
        "cluster", "uninstall", "remove plugins from a cluster", uninstall,
        examples=("cluster uninstall t hadoop",), arguments=(NAME, _SOME),
    ),
    Command(
        "cluster", "start", "start a cluster's nodes and plugins, or some plugins", start,
        examples=("cluster start t", "cluster start t hadoop"), arguments=(NAME, _ANY),
    ),
    Command(
        "cluster", "stop", "stop a cluster's plugins and nodes, or some plugins; disks stay", stop,
        examples=("cluster stop t", "cluster stop t hadoop"), arguments=(NAME, _ANY),
    ),
    Command(
        "cluster", "open", "look at a cluster's pages, through SSH, until Ctrl-C", look_at_pages, columns=PAGE_COLUMNS,
        examples=(
            "cluster open hadoop", "cluster open hadoop hdfs", "cluster open hadoop --no-browser -f value -c address"
        ),
        arguments=(
            NAME,
            argument("page", nargs="?", metavar="PAGE", completes="page", help="a page or a plugin (default: all)"),
            argument("--no-browser", action="store_true", help="only print the addresses"),
        ),
    ),
    Command(
        "cluster", "restart", "restart a cluster's nodes and plugins, or some plugins", restart,
        examples=("cluster restart t", "cluster restart t hadoop"), arguments=(NAME, _ANY),
    ),
)  # fmt: skip
