"""Machines that stay when their cluster goes: what plugins installed is taken off before they are given back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cloudmesh_cluster.conda.environments import Environments
from cloudmesh_cluster.core.errors import LeftBehind, RemoteFailed, Unreachable
from cloudmesh_cluster.core.model import Leftover, Node
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps import plugins as plugin_steps
from cloudmesh_cluster.operations.steps.environments import remove
from cloudmesh_cluster.ssh.connections import Connections

ANSWER = 10.0
"""Seconds in which a machine may answer; of one that does not, the provider says that it could not be given back."""


async def strip(session: Session, nodes: Sequence[Node], *, force: bool = False) -> None:
    """Uninstall plugins and environments from nodes that were machines before; others are destroyed with all on them.

    Args:
        session: the running operation.
        nodes: those that are about to be given back.
        force: go on when a plugin can't be uninstalled.

    Raises:
        LeftBehind: a plugin could not be uninstalled; the nodes are as they were, so that it can be tried again.

    """
    environments = Environments(session.home, session.name).all()
    if not session.machines_stay or not (session.plugins or environments):
        return
    async with session.connections() as connections:
        there = await _answering(session, connections, nodes)
        for environment in environments:
            with _left_behind(session, "environment", environment.name, force=force):
                await remove(session, connections, environment, there)
        for chosen in reversed(session.plugins):
            with _left_behind(session, "plugin", chosen.plugin.name, force=force):
                await plugin_steps.uninstall(session, connections, chosen, nodes=there)


@contextmanager
def _left_behind(session: Session, kind: str, name: str, *, force: bool) -> Iterator[None]:
    try:
        yield
    except RemoteFailed as error:
        session.journal.warn(str(error))
        if not force:
            raise LeftBehind([Leftover(kind, name)], message=str(error)) from error


async def _answering(session: Session, connections: Connections, nodes: Sequence[Node]) -> list[Node]:
    async def answers(node: Node) -> bool:
        if node.state not in ("taken", "reached", "running", "stopped"):
            return False
        try:
            await connections.connect(node, within=ANSWER)
        except Unreachable as error:
            session.journal.warn(f"plugins stay on it: {error.reason}", node=node.name)
            return False
        return True

    answered = await asyncio.gather(*(answers(node) for node in nodes))
    return [node for node, there in zip(nodes, answered, strict=True) if there]
