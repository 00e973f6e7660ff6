"""Servers come into being: Heat is asked for what is missing, and followed until all of it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cloudmesh_cluster import template
from cloudmesh_cluster.errors import ProviderError, UsageError
from cloudmesh_cluster.events import Emit, Event
from cloudmesh_cluster.model import Node
from cloudmesh_cluster.providers.base import Boot
from cloudmesh_cluster.providers.openstack import servers
from cloudmesh_cluster.providers.openstack.blueprint import has_floating_ip, parameters_of, stack_of
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.settings import Settings
from cloudmesh_cluster.providers.openstack.stack import Stack, StackEvent

TAIL = 10


class Provisioning:
    """One boot of nodes in a stack.

    Args:
        cloud: where the stack is.
        settings: the provider's.
        stack: the cluster's.
        emit: told of the stack's events.

    """

    def __init__(self, cloud: Cloud, settings: Settings, stack: Stack, emit: Emit) -> None:
        self._cloud = cloud
        self._settings = settings
        self._stack = stack
        self._emit = emit

    async def nodes(self, boot: Boot) -> AsyncIterator[Node]:
        """Make the stack or let it grow, and yield each server as soon as Heat has it.

        Raises:
            ProviderError: Heat could not build it; says what failed first.

        """
        wanted = {each.node.index: each.node for each in boot.nodes}
        there, since = await self._ask_for(boot)
        for index in sorted(there.keys() & wanted.keys()):
            floating = await asyncio.to_thread(self._floating_of, wanted[index])
            yield self._node(wanted[index], there[index], floating)
        if since is _NOTHING_TO_FOLLOW:
            return
        async for node in self._arrivals(since, {i: wanted[i] for i in wanted.keys() - there.keys()}):
            yield node

    async def _ask_for(self, boot: Boot) -> tuple[dict[int, str], Any]:
        """Make Heat build what is missing; return the servers that are there, and the event to follow from."""
        text = template.render(await asyncio.to_thread(stack_of, self._cloud, self._settings, boot))
        parameters = parameters_of(boot)
        found = await asyncio.to_thread(self._stack.find)
        if found is None:
            await asyncio.to_thread(self._stack.create, text, parameters, tags=template.tags(boot.cluster))
            return {}, None
        there = await asyncio.to_thread(self._stack.servers)
        if found.stack_status.endswith("_IN_PROGRESS"):
            return there, await self._stack.event_before_current_action()
        missing = [each.node.index for each in boot.nodes if each.node.index not in there]
        if not missing and found.stack_status.endswith("_COMPLETE"):
            return there, _NOTHING_TO_FOLLOW
        since = await self._stack.last_event()
        await asyncio.to_thread(self._grow, text, parameters, missing)
        return there, since

    def _grow(self, text: str, parameters: Mapping[str, str], indices: Sequence[int]) -> None:
        import yaml

        found = self._stack.find()
        if found is not None and found.parameters.get("login_public_key") != parameters["login_public_key"]:
            # A new key pair would make Heat replace every server.
            hint = "put the key back that the cluster was made with"
            raise UsageError("the login key is not the one that the stack was made with", hint=hint)
        # What is there stays as its own template says, so that Heat has no reason to make any of it anew. Its preview
        # of an update can't prove that: it calls everything replaced that refers to something else.
        self._stack.update(template.grown(self._stack.template(), yaml.safe_load(text), indices=indices), parameters)

    async def _arrivals(self, since: str | None, wanted: Mapping[int, Node]) -> AsyncIterator[Node]:
        """Follow the stack to its end, and yield each wanted node as soon as it has its server and floating IP."""
        arrived: dict[int, str] = {}
        floating: dict[int, str] = {}
        failed: StackEvent | None = None
        async for event in self._stack.follow(since):
            self._emit(Event("info", "provision", message=f"{event.resource}: {event.in_words}"))
            if event.failed and not event.of_stack:
                failed = failed or event
            if event.failed and event.of_stack:
                raise await failure(self._cloud, failed or event)
            index = template.index_of(event.resource)
            if index is None or index not in wanted or not event.complete:
                continue
            if event.resource.startswith("server_"):
                arrived[index] = event.physical_id
            elif event.resource.startswith("floating_ip_"):
                floating[index] = await asyncio.to_thread(self._floating_address, event.physical_id)
            else:
                continue
            if index in arrived and (index in floating or not has_floating_ip(self._settings, wanted[index])):
                yield self._node(wanted[index], arrived[index], floating)

    def _node(self, node: Node, server: str, floating: Mapping[int, str]) -> Node:
        return replace(node, state="booting", provider_id=server, public_ip=floating.get(node.index, node.public_ip))

    def _floating_address(self, identity: str) -> str:
        return str(self._cloud.sdk.network.get_ip(identity).floating_ip_address)

    def _floating_of(self, node: Node) -> dict[int, str]:
        """Return the floating IP of a node that an earlier process has asked for."""
        if not has_floating_ip(self._settings, node) or node.public_ip:
            return {}
        resource = self._cloud.heat.resources.get(self._stack.name, f"floating_ip_{node.index}")
        return {node.index: str(resource.attributes["floating_ip_address"])}


async def failure(cloud: Cloud, event: StackEvent) -> ProviderError:
    """Return what Heat says of the first resource that failed, with the end of its console."""
    tail = ""
    if event.resource.startswith("server_") and event.physical_id:
        printed = await asyncio.to_thread(servers.console, cloud, event.physical_id)
        tail = "\n".join(printed.splitlines()[-TAIL:])
    return ProviderError(f"{event.resource}: {event.reason}", hint=tail)


_NOTHING_TO_FOLLOW = object()
