"""Ways from this machine to what a cluster serves on its private network, through SSH: no port is open to the world."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from cloudmesh_cluster.core.errors import NotFound, Unreachable, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.targets import select
from cloudmesh_cluster.operations.session import connections_of
from cloudmesh_cluster.operations.steps.preconditions import refuse_stopped
from cloudmesh_cluster.plugins.model import ChosenPlugin, Port
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.state.store import State

if TYPE_CHECKING:
    from cloudmesh_cluster.ssh.connections import Connections

_READ_TOKEN = 30.0  # seconds


@dataclass(frozen=True)
class Page:
    """A page of a plugin that can be looked at from this machine: its name, its node, its address here."""

    name: str
    node: str
    address: str


@asynccontextmanager
async def tunnel(home: Home, name: str, port: int, *, node: str = "master") -> AsyncIterator[int]:
    """Yield the port on this machine's loopback that leads to a port of a node until the block ends.

    It serves this user alone.

    Args:
        home: whose cluster.
        name: the cluster's.
        port: a TCP port that the node serves on its private address.
        node: which node.

    Raises:
        NotFound: there is no such cluster or node.
        UsageError: the node does not run.
        Unreachable: nothing answers there.

    """
    with State(home) as state:
        (chosen, *_) = nodes = select(state.cluster(name).nodes, node)
        refuse_stopped(home, state, name, nodes)
        async with _connections(home, state, name) as connections:
            listener = await connections.forward(chosen, port)
            try:
                yield listener.get_port()
            finally:
                listener.close()


async def open_pages(
    home: Home,
    name: str,
    wanted: str,
    show: Callable[[Sequence[Page]], None],
    refused: Callable[[int | None], None] = lambda uid: None,
) -> None:
    """Hold tunnels to pages of a cluster until this is cancelled.

    Args:
        home: whose cluster.
        name: the cluster's.
        wanted: a plugin, for all its pages, or one page; empty for all pages of the cluster.
        show: is called once, when all can be looked at.
        refused: is called with the id of another user of this machine who tried to connect.

    Raises:
        NotFound: the cluster is unknown, or it has no plugin or page of this name.
        UsageError: the cluster or the plugin has no pages, or the nodes that serve them do not run.
        Unreachable: a page doesn't answer, or the connection to a node was lost.

    """
    with State(home) as state:
        plugins = resolve(state.record(name).profile.plugins, home)
        uis = _pages(name, plugins, wanted)
        cluster = state.cluster(name)
        nodes = {node.name: node for ui in uis for node in select(cluster.nodes, ui.role)}
        refuse_stopped(home, state, name, tuple(nodes.values()))
        async with _connections(home, state, name) as connections:
            try:
                pages = [
                    await _page(connections, node, ui, refused) for ui in uis for node in select(cluster.nodes, ui.role)
                ]
            except Unreachable as error:
                serving = " ".join(each.plugin.name for each in plugins if set(each.plugin.ports) & set(uis))
                error.hint = f"cm cluster status {name} {serving}, or cm cluster start {name} {serving}"
                raise
            show(pages)
            await _until_lost(connections, list(nodes.values()))


def _pages(cluster: str, present: Sequence[ChosenPlugin], wanted: str) -> list[Port]:
    """Return the wanted pages of a cluster's plugins."""
    pages = {chosen.plugin.name: list(chosen.pages) for chosen in present}
    every = [port for ports in pages.values() for port in ports]
    found = pages.get(wanted) or [port for port in every if wanted in ("", port.name)]
    if found:
        return found
    if wanted in pages or not wanted:
        raise UsageError(f"{wanted or cluster} has no page to look at", hint=f"cm cluster show {cluster}")
    known = sorted({port.name for port in every} | set(pages))
    hint = "" if known else f"cm cluster install {cluster} {wanted}"
    raise NotFound("plugin or page on the cluster", wanted, known, hint=hint)


def _connections(home: Home, state: State, name: str) -> Connections:
    record = state.record(name)
    return connections_of(home, state, name, provider_of(home, record.provider_type, record.provider_settings))


async def _page(connections: Connections, node: Node, ui: Port, refused: Callable[[int | None], None]) -> Page:
    listener = await connections.forward(node, ui.number, refused)
    query = ""
    if ui.token:
        line = f"cat -- {shlex.quote(ui.token)}"
        answer = await connections.run(node, line, sudo=True, timeout=_READ_TOKEN)
        if not answer.ok:
            raise Unreachable(node.name, f"the token of {ui.name} can't be read: {answer.stderr.strip()}")
        query = "?" + urlencode({"token": answer.stdout.strip()})
    return Page(ui.name, node.name, f"http://127.0.0.1:{listener.get_port()}{ui.path}{query}")


async def _until_lost(connections: Connections, nodes: Sequence[Node]) -> None:
    waiting = {asyncio.ensure_future(connections.lost(node)): node for node in nodes}
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
    raise Unreachable(waiting[done.pop()].name, "the connection was lost")
