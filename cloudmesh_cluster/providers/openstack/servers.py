"""The servers of a cluster as Nova knows them: states, consoles, start, stop and rebuild."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace

from cloudmesh_cluster.core.errors import ProviderError
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.providers.base import NodeBoot
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.explained import in_words

PAUSE = 2.0
DEADLINE = 600.0
LINES = 10
NO_CONSOLE = "(no console"
TASK = "OS-EXT-STS:task_state"
STATES = {"ACTIVE": "running", "SHUTOFF": "stopped", "ERROR": "failed"}
WAKING = {
    "SHUTOFF": "start",
    "PAUSED": "unpause",
    "SUSPENDED": "resume",
    "SHELVED": "unshelve",
    "SHELVED_OFFLOADED": "unshelve",
}
"""What makes a server run, by its status; OpenStack's clients have the same words."""


def states(cloud: Cloud, marks: Marks) -> dict[str, str]:
    """Return the state of each server of a cluster by name, by one call."""
    return {server.name: STATES.get(server.status, server.status.lower()) for server in cloud.servers(marks)}


def waking_word(state: str) -> str:
    """Return the word of `openstack server` that makes a server run again; "show" where none does."""
    return {STATES.get(status, status.lower()): word for status, word in WAKING.items()}.get(state, "show")


def console(cloud: Cloud, server: str) -> str:
    """Return the console log that Nova keeps of a server, or why it has none."""
    try:
        return printed(cloud, server)
    except ProviderError as error:
        return f"{NO_CONSOLE}: {error})"


def printed(cloud: Cloud, server: str) -> str:
    """Return the console log that Nova keeps of a server.

    Raises:
        ProviderError: Nova does not give it.

    """
    with in_words():
        return str(cloud.nova.servers.get_console_output(server) or "")


def tail(cloud: Cloud, server: str) -> str:
    """Return the end of a server's console; nothing where it has none."""
    lines = console(cloud, server).splitlines()[-LINES:]
    if lines and lines[0].startswith(NO_CONSOLE):
        return ""
    return "\n  ".join(["its console ends with:", *lines]) if lines else "its console is empty"


def volumes(cloud: Cloud, node: Node, mounts: Sequence[str]) -> dict[str, str]:
    """Return the ids of a server's volumes by where they are to be mounted, in that order.

    Raises:
        ProviderError: a volume that is to be mounted somewhere is not attached.

    """
    # The list of a server's attachments ends after a page, without a word; the server itself names them all.
    attached = getattr(cloud.nova.servers.get(node.provider_id), "os-extended-volumes:volumes_attached")
    known = [cloud.sdk.block_storage.get_volume(each["id"]) for each in attached]
    found = {each.metadata.get("cm_mount"): str(each.id) for each in known}
    if missing := [mount for mount in mounts if mount not in found]:
        hint = f"openstack server volume list {node.provider_id}"
        raise ProviderError(f"{node.name} has no volume for {', '.join(missing)}", hint=hint)
    return {mount: found[mount] for mount in mounts}


async def rebuild(cloud: Cloud, marks: Marks, boots: Sequence[NodeBoot]) -> AsyncIterator[Node]:
    """Give servers a fresh disk of their own image and new user_data, and yield each as soon as it is ACTIVE.

    Id, port, floating IP and host stay; Heat has nothing to do with it. What Nova is still doing with a server, such as
    a rebuild that an earlier process has asked for, is waited for.

    Raises:
        ProviderError: a server is gone, boots from a volume, or could not be rebuilt.

    """
    await asyncio.to_thread(_wait_until_idle, cloud, marks, {boot.node.name for boot in boots})
    for boot in boots:
        await asyncio.to_thread(_ask_for_rebuild, cloud, boot)
    waiting = {boot.node.name: boot.node for boot in boots}
    while waiting:
        await asyncio.sleep(PAUSE)
        for server in await asyncio.to_thread(cloud.servers, marks):
            if server.status == "ERROR" and server.name in waiting:
                reason = getattr(server, "fault", {}).get("message", "Nova says no reason")
                raise ProviderError(f"{server.name} could not be rebuilt: {reason}", hint=_renew(waiting[server.name]))
            settled = server.status == "ACTIVE" and getattr(server, TASK) is None
            if settled and server.name in waiting:
                yield replace(waiting.pop(server.name), state="booting")


def _wait_until_idle(cloud: Cloud, marks: Marks, names: Collection[str]) -> None:
    deadline = time.monotonic() + DEADLINE
    while any(getattr(server, TASK) for server in cloud.servers(marks) if server.name in names):
        if time.monotonic() > deadline:
            raise ProviderError(f"Nova does not end what it does with {', '.join(sorted(names))}")
        time.sleep(PAUSE)


def _ask_for_rebuild(cloud: Cloud, boot: NodeBoot) -> None:
    from novaclient.exceptions import NotFound

    try:
        server = cloud.nova.servers.get(boot.node.provider_id)
    except NotFound:
        raise ProviderError(f"{boot.node.name} has no server any more", hint=_renew(boot.node)) from None
    if not server.image:
        raise ProviderError(f"{boot.node.name} boots from a volume, which Nova keeps", hint=_renew(boot.node))
    cloud.nova.servers.rebuild(server, server.image["id"], userdata=boot.user_data.decode("ascii"))


def _renew(node: Node) -> str:
    return f"cm cluster replace {node.cluster} {node.short_name}"


async def start(cloud: Cloud, marks: Marks, nodes: Sequence[Node]) -> None:
    """Start, unpause, resume or unshelve servers, whatever each needs, and wait until Nova says that they run.

    Raises:
        ProviderError: a server is gone, has failed, or takes too long.

    """
    await _switch(cloud, marks, nodes, WAKING, until="running")


async def stop(cloud: Cloud, marks: Marks, nodes: Sequence[Node]) -> None:
    """Stop servers that run, and wait until Nova says that they have stopped.

    Raises:
        ProviderError: a server is gone, has failed, or takes too long.

    """
    await _switch(cloud, marks, nodes, {"ACTIVE": "stop"}, until="stopped")


async def _switch(cloud: Cloud, marks: Marks, nodes: Sequence[Node], actions: Mapping[str, str], *, until: str) -> None:
    """Do with each server what its status asks for, and wait for the state that they reach by it."""
    began, wanted = time.monotonic(), {node.name for node in nodes}
    for server in await asyncio.to_thread(cloud.servers, marks):
        if server.name in wanted and (action := actions.get(server.status)):
            await asyncio.to_thread(getattr(cloud.nova.servers, action), server.id)
    while waiting := await asyncio.to_thread(_others, cloud, marks, nodes, until):
        for name, state in waiting.items():
            if state in ("gone", "failed") or time.monotonic() - began > DEADLINE:
                raise ProviderError(f"{name} is {state}, it can't be {until}", hint=f"openstack server show {name}")
        await asyncio.sleep(PAUSE)


def _others(cloud: Cloud, marks: Marks, nodes: Sequence[Node], state: str) -> dict[str, str]:
    """Return the states of those nodes that are not in this one."""
    now = states(cloud, marks)
    return {node.name: now.get(node.name, "gone") for node in nodes if now.get(node.name) != state}
