"""Servers come into being: Heat is asked for what is missing, and followed until all of it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

from cloudmesh_cluster.core import heat_names
from cloudmesh_cluster.core.errors import ProviderError, UsageError
from cloudmesh_cluster.core.events import Emit, Event
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.providers.base import Boot
from cloudmesh_cluster.providers.blocking import to_its_end
from cloudmesh_cluster.providers.openstack import servers, template
from cloudmesh_cluster.providers.openstack.blueprint import has_floating_ip, parameters_of, stack_of, with_ids
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.settings import Settings
from cloudmesh_cluster.providers.openstack.stack import Stack, StackEvent, Stalled, gone
from cloudmesh_cluster.providers.openstack.strays import remove_strays

SIGNAL_GRACE = 20.0
"""Seconds in which the last node may tell Heat that it is done, after it has told us."""
SETTLE_DEADLINE = 600.0
STALLED_AFTER = 30.0
"""Seconds without an event after which a stack that an earlier process has asked for is taken for abandoned."""


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
        self._servers: dict[int, str] = {}
        self._floating: dict[int, str] = {}
        self._attached: set[str] = set()
        self._volumes: dict[int, int] = {}

    async def nodes(self, boot: Boot) -> AsyncIterator[Node]:
        """Make the stack or let it grow, and yield each server as soon as Heat has it.

        Raises:
            ProviderError: Heat could not build it; says what failed first.

        """
        waiting = {each.node.index: each.node for each in boot.nodes}
        self._volumes = {each.node.index: len(each.spec.volumes) for each in boot.nodes}
        text = await asyncio.to_thread(self._template_of, boot)
        since, patience = await self._ask_for(boot, text)
        for node in self._take_ready(waiting):
            yield node
        if not waiting:
            return
        try:
            async for node in self._arrivals(since, waiting, patience):
                yield node
        except Stalled as stalled:
            self._emit(Event("info", "provision", message=f"{stalled}: it is taken over"))
            since = await self._begin_again(boot, text, untouched=len(waiting) == len(boot.nodes))
            async for node in self._arrivals(since, waiting, None):
                yield node

    def _template_of(self, boot: Boot) -> str:
        return template.render(with_ids(self._cloud, stack_of(self._cloud, self._settings, boot)))

    async def _ask_for(self, boot: Boot, text: str) -> tuple[str | None, float | None]:
        """Make Heat build what is missing; return the event to follow from, and how long nothing may happen."""
        found = await asyncio.to_thread(self._stack.find)
        self._servers = await asyncio.to_thread(self._stack.servers) if found else {}
        if found and not self._servers and found.stack_status.startswith(("DELETE_", "ROLLBACK_")):
            # An earlier process, or somebody else, was taking it back: nothing of it is worth keeping.
            await self._stack.delete()
            found = None
        if found is None:
            if all(each.node.index for each in boot.nodes):
                raise ProviderError(f"stack {self._stack.name} is gone", hint=f"cm cluster delete {boot.cluster}")
            await self._create(boot, text)
            return None, None
        if found.stack_status.startswith("SUSPEND_"):
            hint = f"openstack stack resume {self._stack.name}"
            raise UsageError(f"stack {self._stack.name} is suspended: Heat does not change it", hint=hint)
        self._floating = await asyncio.to_thread(self._floating_addresses)
        if any(self._volumes.values()):
            self._attached = await asyncio.to_thread(self._stack.attachments)
        if found.stack_status.endswith("_IN_PROGRESS"):
            return await self._stack.event_before_current_action(), STALLED_AFTER
        since = await self._stack.last_event()
        if not found.stack_status.endswith("_COMPLETE") or self._missing(boot):
            await self._grow(boot, text)
        return since, None

    async def _begin_again(self, boot: Boot, text: str, *, untouched: bool) -> str | None:
        """Take over a stack whose maker died, as Heat's own engine may; return the event to follow from."""
        if untouched and any(each.node.index == 0 for each in boot.nodes) and self._is_all(boot):
            # Heat may have forgotten what it was just making, which is in the way of making it once more.
            await self._stack.delete()
            await self._create(boot, text)
            return None
        since = await self._stack.last_event()
        await self._grow(boot, text)
        return since

    async def _create(self, boot: Boot, text: str) -> None:
        await to_its_end(partial(self._stack.create, text, parameters_of(boot)))

    def _missing(self, boot: Boot) -> list[int]:
        return [each.node.index for each in boot.nodes if each.node.index not in self._servers]

    def _is_all(self, boot: Boot) -> bool:
        return self._servers.keys() <= {each.node.index for each in boot.nodes}

    async def _grow(self, boot: Boot, text: str) -> None:
        import yaml

        found, parameters = await asyncio.to_thread(self._stack.find), parameters_of(boot)
        if found is not None and found.parameters.get("login_public_key") != parameters["login_public_key"]:
            # A new key pair would make Heat replace every server.
            hint = "put the key back that the cluster was made with"
            raise UsageError("the login key is not the one that the stack was made with", hint=hint)
        if found is not None and not found.stack_status.endswith("_COMPLETE"):
            await asyncio.to_thread(remove_strays, self._cloud, self._stack.marks, found)
        # What is there stays as its own template says, so that Heat has no reason to make any of it anew. Its preview
        # of an update can't prove that: it calls everything replaced that refers to something else.
        now = await asyncio.to_thread(self._stack.template)
        grown = template.grown(now, yaml.safe_load(text), indices=self._missing(boot))
        await to_its_end(self._stack.update, grown, parameters)

    async def _arrivals(
        self, since: str | None, waiting: dict[int, Node], patience: float | None
    ) -> AsyncIterator[Node]:
        """Follow the stack, and yield each node that is waited for when it has its server, floating IP and volumes."""
        failed: StackEvent | None = None
        async for event in self._stack.follow(since, patience=patience):
            self._emit(Event("info", "provision", message=f"{event.resource}: {event.in_words}"))
            if event.failed and not event.of_stack:
                failed = failed or event
            if event.failed and event.of_stack:
                raise await failure(self._cloud, self._stack, failed or event)
            index = heat_names.index_of(event.resource)
            if index is None or not event.complete:
                continue
            if event.resource.startswith("server_"):
                self._servers[index] = event.physical_id
            elif event.resource.startswith("floating_ip_"):
                self._floating[index] = await asyncio.to_thread(self._floating_address, event.physical_id)
            elif event.resource.endswith("_attachment"):
                self._attached.add(event.resource)
            for node in self._take_ready(waiting):
                yield node
            if not waiting:
                return
        lacking = ", ".join(f"server_{index}" for index in sorted(waiting))
        raise ProviderError(f"stack {self._stack.name} is complete without {lacking}")

    def _take_ready(self, waiting: dict[int, Node]) -> list[Node]:
        """Return the nodes that have all they need, which are not waited for any more."""
        ready = [
            index
            for index, node in waiting.items()
            if index in self._servers
            and (index in self._floating or not has_floating_ip(self._settings, node))
            and template.attachments(index, self._volumes[index]) <= self._attached
        ]
        return [
            replace(
                waiting.pop(index),
                state="booting",
                provider_id=self._servers[index],
                public_ip=self._floating.get(index),
            )
            for index in ready
        ]

    def _floating_addresses(self) -> dict[int, str]:
        """Return the floating IPs that the stack has already, by the index of their nodes."""
        return {index: self._floating_address(identity) for index, identity in self._stack.floating_ips().items()}

    def _floating_address(self, identity: str) -> str:
        return str(self._cloud.sdk.network.get_ip(identity).floating_ip_address)

    async def settle(self, boot: Boot) -> None:
        """Wait until the stack is complete; the signal of a node that can't reach Heat is given for it.

        Raises:
            ProviderError: the stack failed, or does not end what it does.

        """
        try:
            async with asyncio.timeout(SIGNAL_GRACE):
                return await self._until_settled()
        except TimeoutError:
            await self._signal_for(boot)
        try:
            async with asyncio.timeout(SETTLE_DEADLINE):
                await self._until_settled()
        except TimeoutError:
            hint = f"openstack stack resource list {self._stack.name}"
            raise ProviderError(f"stack {self._stack.name} does not become complete", hint=hint) from None

    async def _until_settled(self) -> None:
        found = await asyncio.to_thread(self._stack.find)
        if found is None:
            raise gone(self._stack)
        if found.stack_status.endswith("_COMPLETE"):
            return
        failed: StackEvent | None = None
        async for event in self._stack.follow(await self._stack.event_before_current_action()):
            if event.failed:
                failed = failed if failed and event.of_stack else event
            if event.failed and event.of_stack:
                raise await failure(self._cloud, self._stack, failed or event)

    async def _signal_for(self, boot: Boot) -> None:
        """Release the wait condition in the place of the last node."""
        handle = template.handle_of(boot.operation)
        if not await asyncio.to_thread(self._stack.is_waiting, handle):
            return
        last = boot.nodes[-1].node
        self._emit(
            Event(
                "warning", "provision", last.name,
                "it could not tell Heat that it is done, cm does that for it; where nodes can't reach Heat,"
                " say signal: ssh in providers.yaml",
            )
        )  # fmt: skip
        await asyncio.to_thread(self._stack.signal, handle)


async def failure(cloud: Cloud, stack: Stack, event: StackEvent) -> ProviderError:
    """Return what Heat says of the first resource that failed, with the end of its console."""
    found = await asyncio.to_thread(stack.find)
    if found is None or found.stack_status.startswith("DELETE_"):
        return gone(stack)
    is_server = event.resource.startswith("server_") and event.physical_id
    tail = await asyncio.to_thread(servers.tail, cloud, event.physical_id) if is_server else ""
    return ProviderError(f"{event.resource}: {event.reason}", hint=tail)
