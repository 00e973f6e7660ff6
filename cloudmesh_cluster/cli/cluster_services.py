"""`cm cluster install`, `uninstall`, `start`, `stop`, `restart`: what runs on a cluster."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence

from cloudmesh_cluster.cli.common import NAME, show_summary
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.events import Emit
from cloudmesh_cluster.home import Home

Work = Callable[[Home, str, Sequence[str], Emit], Awaitable[object]]


def _run(args: Namespace, session: Session, work: Work) -> int:
    summary = session.run([args.name], lambda emit: work(session.home, args.name, args.plugins, emit))
    return show_summary(summary, session)


def install(args: Namespace, session: Session) -> int:
    """Install plugins on a running cluster."""
    from cloudmesh_cluster.operations import services

    return _run(args, session, services.install)


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
        "cluster", "restart", "restart a cluster's nodes and plugins, or some plugins", restart,
        examples=("cluster restart t", "cluster restart t hadoop"), arguments=(NAME, _ANY),
    ),
)  # fmt: skip
