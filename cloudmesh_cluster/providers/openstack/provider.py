"""The provider `openstack`: servers that Heat makes, reached by floating IP or through the master."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cloudmesh_cluster import template
from cloudmesh_cluster.errors import ProviderError, Unreachable, UsageError
from cloudmesh_cluster.events import Emit, Event
from cloudmesh_cluster.home import Home
from cloudmesh_cluster.hosts import parse_console_host_keys
from cloudmesh_cluster.model import Leftover, Node, Problem, Profile
from cloudmesh_cluster.providers.base import Boot, Placement
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.networks import free_addresses
from cloudmesh_cluster.providers.openstack.remains import remains
from cloudmesh_cluster.providers.openstack.settings import Settings
from cloudmesh_cluster.providers.openstack.stack import Stack, StackEvent

FIRST_ADDRESS = 10
PAUSE = 2.0
STATES = {"ACTIVE": "running", "SHUTOFF": "stopped", "ERROR": "failed"}


class OpenStackProvider:
    """Servers of a cloud, one stack a cluster.

    Args:
        home: not used: the cloud holds everything.
        settings: see `Settings`.

    """

    def __init__(self, home: Home, settings: Mapping[str, object]) -> None:
        self._settings = Settings.of(settings)
        self._cloud = Cloud(self._settings.os_cloud)

    @property
    def signal(self) -> str | None:
        """What Heat replaces by the command that releases the wait condition."""
        return template.SIGNAL if self._settings.signal == "heat" else None

    def complete(self, profile: Profile) -> Profile:
        """Choose an image and a flavor for roles that name none, and say how large their nodes will be."""
        from cloudmesh_cluster.providers.openstack.choices import complete

        return complete(self._cloud, self._settings, profile)

    def preflight(self, profile: Profile, *, needs_internet: bool) -> tuple[list[Problem], list[str]]:
        """Ask the cloud for everything that a create will need."""
        from cloudmesh_cluster.providers.openstack.preflight import problems

        return problems(self._cloud, self._settings, profile), []

    def place(self, cluster: str, indices: Sequence[int], *, taken: Sequence[str]) -> Placement:
        """Choose fixed addresses, so that they are known before anything boots."""
        if self._settings.network is None:
            network = ipaddress.IPv4Network(self._settings.cidr)
            if max(indices, default=0) + FIRST_ADDRESS >= network.num_addresses - 1:
                raise UsageError(f"the nodes do not fit into {network}", hint="a larger cidr in providers.yaml")
            return Placement(str(network), {i: str(network[FIRST_ADDRESS + i]) for i in indices})
        cidr, free = free_addresses(self._cloud, self._settings.network, self._settings.subnet, len(indices), taken)
        return Placement(cidr, dict(zip(indices, free, strict=True)))

    async def make_image(self, profile: Profile, packages: Sequence[str], emit: Emit) -> None:
        """Do nothing: images are the cloud's, and packages are installed by the plugins."""

    async def provision(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Make the stack or let it grow, and yield each server as soon as Heat has it."""
        stack = self._stack(boot.cluster)
        wanted = {each.node.index: each.node for each in boot.nodes}
        there, since = await self._ask_for(stack, boot, emit)
        for index in sorted(there.keys() & wanted.keys()):
            floating = await asyncio.to_thread(self._floating_of, stack, wanted[index])
            yield self._node(wanted[index], there[index], floating)
        if since is _NOTHING_TO_FOLLOW:
            return
        async for node in self._arrivals(stack, since, {i: wanted[i] for i in wanted.keys() - there.keys()}, emit):
            yield node

    async def _arrivals(
        self, stack: Stack, since: str | None, wanted: Mapping[int, Node], emit: Emit
    ) -> AsyncIterator[Node]:
        """Follow the stack to its end, and yield each wanted node as soon as it has its server and floating IP."""
        servers: dict[int, str] = {}
        floating: dict[int, str] = {}
        failed: StackEvent | None = None
        async for event in stack.follow(since):
            emit(Event("info", "provision", message=f"{event.resource}: {event.status.lower().replace('_', ' ')}"))
            if event.failed and not event.of_stack:
                failed = failed or event
            if event.failed and event.of_stack:
                raise await self._failure(failed or event)
            index = template.index_of(event.resource)
            if index is None or index not in wanted or not event.complete:
                continue
            if event.resource.startswith("server_"):
                servers[index] = event.physical_id
            elif event.resource.startswith("floating_ip_"):
                floating[index] = await asyncio.to_thread(self._floating_address, event.physical_id)
            else:
                continue
            if index in servers and (index in floating or not self._has_floating_ip(wanted[index])):
                yield self._node(wanted[index], servers[index], floating)

    async def _ask_for(self, stack: Stack, boot: Boot, emit: Emit) -> tuple[dict[int, str], Any]:
        """Make Heat build what is missing; return the servers that are there, and the event to follow from."""
        text = template.render(self._stack_of(boot))
        parameters = self._parameters(boot)
        found = await asyncio.to_thread(stack.find)
        if found is None:
            await asyncio.to_thread(stack.create, text, parameters, tags=template.tags(boot.cluster))
            return {}, None
        there = await asyncio.to_thread(self._servers_of, stack)
        if found.stack_status.endswith("_IN_PROGRESS"):
            return there, await stack.event_before_current_action()
        missing = [each.node.index for each in boot.nodes if each.node.index not in there]
        if not missing and found.stack_status.endswith("_COMPLETE"):
            return there, _NOTHING_TO_FOLLOW
        since = await stack.last_event()
        await asyncio.to_thread(self._grow, stack, text, parameters, missing)
        return there, since

    def _grow(self, stack: Stack, text: str, parameters: Mapping[str, str], indices: Sequence[int]) -> None:
        import yaml

        # What is there stays as its own template says, so that Heat has no reason to make any of it anew. Its preview
        # of an update can't prove that: it calls everything replaced that refers to something else.
        stack.update(template.grown(stack.template(), yaml.safe_load(text), indices=indices), parameters)

    def _stack_of(self, boot: Boot) -> template.Stack:
        settings = self._settings
        external = settings.external_network or self._external_network()
        return template.Stack(
            cluster=boot.cluster,
            stack=self._stack(boot.cluster).name,
            operation=boot.operation,
            servers=[
                template.Server(
                    name=each.node.name,
                    short_name=each.node.short_name,
                    role=each.node.role,
                    index=each.node.index,
                    address=each.node.private_ip,
                    image=each.spec.image or settings.image or "",
                    flavor=each.spec.flavor or settings.flavor or "",
                    floating_ip=self._has_floating_ip(each.node),
                    login=self._has_floating_ip(each.node) or settings.floating_ip == "none",
                    volumes=each.spec.volumes,
                )
                for each in boot.nodes
            ],
            ssh_from=settings.ssh_from or self._cloud.own_address(),
            cidr="" if settings.network else boot.network,
            network=settings.network or "",
            subnet=settings.subnet or "",
            external_network=external,
            dns=settings.dns.split(),
            availability_zone=settings.availability_zone or "",
            anti_affinity=settings.anti_affinity == "yes",
            signal=settings.signal == "heat" and boot.propagates,
        )

    def _parameters(self, boot: Boot) -> dict[str, str]:
        *others, last = boot.nodes
        key = base64.b64encode(boot.bootstrap_private_key).decode("ascii")
        common = ""
        if others:
            node = others[0].node
            common = template.common_user_data(
                others[0].user_data.decode("ascii"),
                name=node.name,
                short_name=node.short_name,
                address=node.private_ip,
            )
        return {
            "login_public_key": boot.login_public_key,
            "bootstrap_private_key": key,
            "user_data": common,
            "last_user_data": last.user_data.decode("ascii").replace(key, template.BOOTSTRAP_PRIVATE_KEY),
        }

    def _external_network(self) -> str:
        """Return the only external network there is; preflight has said when there are none or several."""
        if self._settings.floating_ip == "none" and self._settings.network:
            return ""
        return next((str(network.name) for network in self._cloud.sdk.network.networks(is_router_external=True)), "")

    def _has_floating_ip(self, node: Node) -> bool:
        return self._settings.floating_ip == "all" or (self._settings.floating_ip == "master" and node.index == 0)

    def _node(self, node: Node, server: str, floating: Mapping[int, str]) -> Node:
        return replace(node, state="booting", provider_id=server, public_ip=floating.get(node.index, node.public_ip))

    def _floating_address(self, identity: str) -> str:
        return str(self._cloud.sdk.network.get_ip(identity).floating_ip_address)

    def _servers_of(self, stack: Stack) -> dict[int, str]:
        """Return the ids of the stack's complete servers by index."""
        return {
            index: each.physical_resource_id
            for each in self._cloud.heat.resources.list(stack.name)
            if each.resource_type == "OS::Nova::Server"
            and each.resource_status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
            and (index := template.index_of(each.resource_name)) is not None
        }

    def _floating_of(self, stack: Stack, node: Node) -> dict[int, str]:
        """Return the floating IP of a node that an earlier process has asked for."""
        if not self._has_floating_ip(node) or node.public_ip:
            return {}
        resource = self._cloud.heat.resources.get(stack.name, f"floating_ip_{node.index}")
        return {node.index: str(resource.attributes["floating_ip_address"])}

    async def _failure(self, event: StackEvent) -> ProviderError:
        """Return what Heat says of the first resource that failed, with the end of its console."""
        tail = ""
        if event.resource.startswith("server_") and event.physical_id:
            tail = "\n".join((await asyncio.to_thread(self._console_of, event.physical_id)).splitlines()[-10:])
        return ProviderError(f"{event.resource}: {event.reason}", hint=tail)

    async def host_keys(self, node: Node, *, deadline: float) -> list[str]:
        """Return the host keys that cloud-init printed on the server's console, as Nova keeps it."""
        began = time.monotonic()
        while not (keys := parse_console_host_keys(await asyncio.to_thread(self.console, node))):
            if time.monotonic() - began > deadline:
                raise Unreachable(node.name, f"no host key on its console within {deadline:g} s")
            await asyncio.sleep(PAUSE)
        return keys

    async def dial(self, node: Node, port: int = 22) -> socket.socket:
        """Return a socket connected to the node's floating IP, or to its fixed address where it has none."""
        inner = socket.socket()
        inner.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(inner, (node.public_ip or node.private_ip, port))
        except BaseException:
            inner.close()
            raise
        return inner

    def via(self, node: Node) -> bool:
        """Return whether a node is reached through the master."""
        return self._settings.floating_ip == "master" and node.index != 0

    def ssh_route(self, node: Node) -> dict[str, str]:
        """Return the jump through the master, where there is one."""
        return {"ProxyJump": f"{node.cluster}-master"} if self.via(node) else {}

    def console(self, node: Node) -> str:
        """Return the console log that Nova keeps."""
        return self._console_of(node.provider_id) if node.provider_id else ""

    def _console_of(self, server: str) -> str:
        from novaclient.exceptions import ClientException

        try:
            return str(self._cloud.nova.servers.get_console_output(server) or "")
        except ClientException as error:
            return f"(no console: {error})"

    def states(self, cluster: str) -> dict[str, str]:
        """Return the state of each server, by one call."""
        servers = self._cloud.servers(cluster)
        return {server.name: STATES.get(server.status, server.status.lower()) for server in servers}

    async def start(self, nodes: Sequence[Node], emit: Emit) -> None:
        """Start stopped servers and wait until Nova says that they run."""
        await self._switch(nodes, "start", "running")

    async def stop(self, nodes: Sequence[Node]) -> None:
        """Stop servers and wait until Nova says that they have stopped."""
        await self._switch(nodes, "stop", "stopped")

    async def _switch(self, nodes: Sequence[Node], action: str, state: str) -> None:
        if not nodes:
            return
        cluster = nodes[0].cluster
        now = await asyncio.to_thread(self.states, cluster)
        for node in nodes:
            if now.get(node.name) != state:
                await asyncio.to_thread(getattr(self._cloud.nova.servers, action), node.provider_id)
        names = {node.name for node in nodes}
        while any(now.get(name) != state for name in names):
            await asyncio.sleep(PAUSE)
            now = await asyncio.to_thread(self.states, cluster)

    async def destroy(self, cluster: str, nodes: Sequence[str]) -> None:
        """Take servers out of the stack."""
        stack = self._stack(cluster)
        found = await asyncio.to_thread(stack.find)
        there = await asyncio.to_thread(self._servers_of, stack) if found else {}
        indices = [index for name in nodes if (index := _index_of(cluster, name)) in there]
        if not indices:
            return
        since = await stack.last_event()
        smaller = template.shrunk(await asyncio.to_thread(stack.template), indices=indices)
        await asyncio.to_thread(stack.update, smaller, {})
        async for event in stack.follow(since):
            if event.failed and event.of_stack:
                raise await self._failure(event)

    async def destroy_all(self, cluster: str) -> None:
        """Delete the stack with everything in it."""
        await self._stack(cluster).delete()

    def leftovers(self, cluster: str, *, nodes: Sequence[str] | None = None) -> list[Leftover]:
        """Return what the cloud still has of the cluster, or which servers of some nodes."""
        if nodes is not None:
            there = self.states(cluster)
            return [Leftover("server", name, f"openstack server delete {name}") for name in nodes if name in there]
        return remains(self._cloud, cluster, self._stack(cluster))

    def _stack(self, cluster: str) -> Stack:
        return Stack(self._cloud, f"cm-{cluster}")


_NOTHING_TO_FOLLOW = object()


def _index_of(cluster: str, name: str) -> int:
    short = name.removeprefix(f"{cluster}-")
    return 0 if short == "master" else int(short.removeprefix("worker-"))
