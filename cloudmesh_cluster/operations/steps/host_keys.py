"""How an operation learns the host keys of nodes: somebody vouches for them, or the user has said that none need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from cloudmesh_cluster.core.errors import Unreachable, UsageError
from cloudmesh_cluster.core.model import HostKeys, Node
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.ssh.connections import Connections

LAST_WORD = 20.0
"""Seconds in which somebody may still vouch for a host key that a node has shown: the console lags behind the boot."""
FIRST_USE: Final = "first use"


async def learn_host_keys(
    session: Session, connections: Connections, node: Node, gateway_is_open: asyncio.Event, *, deadline: float
) -> HostKeys:
    """Return the host keys of a node, from whoever vouches for them.

    Where the operation was told to trust on first use, the key that the node shows is taken if nobody does; a node
    that was trusted so before the operation was interrupted is not trusted anew.

    Args:
        session: the running operation.
        connections: to the nodes.
        node: the node, which has been provisioned.
        gateway_is_open: set when the master lets others through; nodes behind it wait for that.
        deadline: seconds to wait at most.

    Raises:
        Unreachable: nobody vouches for any, or the node does not answer.

    """
    # Machines that stay have shown theirs already, when they were taken.
    if not session.trusts_on_first_use or session.machines_stay:
        return await session.provider.host_keys(node, deadline=deadline)
    known = next((each for each in session.cluster.nodes if each.name == node.name), node)
    if known.host_key_from == FIRST_USE and (pinned := session.state.host_keys(session.name)[node.name]):
        return HostKeys(tuple(pinned), FIRST_USE)
    if session.provider.via(node):
        await gateway_is_open.wait()
    shown, fingerprint = await connections.shown_host_key(node, within=deadline)
    try:
        return await session.provider.host_keys(node, deadline=LAST_WORD)
    except Unreachable as error:
        session.journal.warn(trusted(fingerprint, error.reason), node=node.name)
        session.journal.flush()
        return HostKeys((shown,), FIRST_USE)


def trusted(fingerprint: str, reason: str) -> str:
    """Return the warning that a host key is trusted although nobody vouches for it."""
    return f"its host key {fingerprint} is trusted on first use: {reason}"


def refuse_rebuild(nodes: Sequence[Node]) -> None:
    """Raise when one of some nodes would come back from a rebuild with a host key for which nobody vouches.

    Raises:
        UsageError: nobody has vouched for the one that it has.

    """
    for node in nodes:
        if node.host_key_from == FIRST_USE:
            what = f"nobody vouches for the host key of {node.name}, nor for the one that it has after a rebuild"
            again = f"cm cluster replace {node.cluster} {node.short_name} --trust-on-first-use"
            raise UsageError(what, hint=f"--undo FILE, or --on-failure keep, and then {again}")


def refuse_pointless_trust(provider_type: str, wanted: bool) -> None:
    """Raise when a provider is told to trust what it can't but know.

    Raises:
        UsageError: it starts the nodes on this machine and reads their consoles itself.

    """
    if wanted and provider_type == "local":
        what = "--trust-on-first-use: the nodes are started here, so their host keys are known before anybody answers"
        raise UsageError(what, hint="leave it out")
