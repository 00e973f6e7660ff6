"""The provider `openstack`: servers that Heat makes, reached by floating IP or through the master."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from cloudmesh_cluster.core import heat_names
from cloudmesh_cluster.core.errors import ProviderError, UsageError
from cloudmesh_cluster.core.events import Emit, Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import CloudProject, HostKeys, Leftover, Node, Problem, Profile, RoleSpec
from cloudmesh_cluster.providers.base import Boot, Change, Placement, Room
from cloudmesh_cluster.providers.blocking import to_its_end
from cloudmesh_cluster.providers.openstack import quotas, servers, template
from cloudmesh_cluster.providers.openstack.blueprint import parameters_of, stack_of
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.explained import explained, in_words
from cloudmesh_cluster.providers.openstack.found import FoundCluster, ListedCluster, find_cluster, list_clusters
from cloudmesh_cluster.providers.openstack.host_keys import HostKeyDesk
from cloudmesh_cluster.providers.openstack.networks import free_addresses
from cloudmesh_cluster.providers.openstack.orphans import Orphan, orphans, remove
from cloudmesh_cluster.providers.openstack.provisioning import Provisioning, failure
from cloudmesh_cluster.providers.openstack.recognition import own_marks, recognize
from cloudmesh_cluster.providers.openstack.remains import remains
from cloudmesh_cluster.providers.openstack.settings import Settings
from cloudmesh_cluster.providers.openstack.stack import Stack, StackEvent
from cloudmesh_cluster.providers.openstack.strays import remove_strays

FIRST_ADDRESS = 10
SHRINK_ATTEMPTS = 3
"""What ends may be the change before, which Heat was still at; and Heat may fail to delete a server once."""


@explained
class OpenStackProvider:
    """Servers of a cloud, one stack a cluster.

    Args:
        home: whose clusters; their ids are what the cloud's things are known by.
        settings: see `Settings`.

    """

    def __init__(self, home: Home, settings: Mapping[str, object]) -> None:
        self._home = home
        self._settings = Settings.of(settings)
        self._cloud = Cloud(self._settings.os_cloud)
        self._host_keys = HostKeyDesk(self._cloud, self._settings, self._stack)

    @property
    def signal(self) -> str | None:
        """What Heat replaces by the command that releases the wait condition."""
        return template.SIGNAL if self._settings.signal == "heat" else None

    @property
    def host_keys_signal(self) -> str | None:
        """What Heat replaces by the command by which a node tells its host keys."""
        return template.HOST_KEYS_SIGNAL if self._settings.host_keys == "handle" else None

    def cloud_project(self) -> CloudProject:
        """Return the project that the credentials are for."""
        return self._cloud.project

    def recognize(self, cluster: str) -> None:
        """Make sure that a known cluster is in this project."""
        recognize(self._home, self._cloud, cluster)

    @property
    def touched(self) -> bool:
        """Whether a request may have changed something in the cloud."""
        return self._cloud.changed

    def complete(self, profile: Profile) -> Profile:
        """Choose an image and a flavor for roles that name none, and say how large their nodes will be."""
        from cloudmesh_cluster.providers.openstack.choices import complete

        return complete(self._cloud, self._settings, profile)

    def preflight(
        self,
        profile: Profile,
        *,
        needs_internet: bool,
        cluster: str = "",
        new: Sequence[Node] | None = None,
        trust_on_first_use: bool = False,
    ) -> tuple[list[Problem], list[str]]:
        """Ask the cloud for everything that a create or a growth will need."""
        from cloudmesh_cluster.providers.openstack.preflight import problems, wanted

        return problems(self._cloud, self._settings, wanted(profile, self._marks(cluster), new)), []

    def room(self, profile: Profile, nodes: Sequence[Node]) -> tuple[Room, ...]:
        """Return what is left of the project's quota, of everything that has a limit."""
        return quotas.room(self._cloud, self._settings, nodes, self._flavors(profile), _specs(profile))

    def disk(self, profile: Profile, nodes: Sequence[Node]) -> int | None:
        """Return what the flavors' disks, or the volumes that servers boot from, and the other volumes have."""
        flavors, specs, root = self._flavors(profile), _specs(profile), self._settings.root_disk
        return sum(
            (root or int(flavors[node.role].disk)) + sum(volume.size for volume in specs[node.role].volumes)
            for node in nodes
        )

    def missing(self, profile: Profile, packages: Sequence[str]) -> tuple[str, ...]:
        """Return the packages that each server fetches."""
        return (f"on each server: {' '.join(packages)}",) if packages else ()

    def _flavors(self, profile: Profile) -> dict[str, Any]:
        find = self._cloud.sdk.compute.find_flavor
        names = {role: spec.flavor or self._settings.flavor for role, spec in _specs(profile).items()}
        return {role: find(name, ignore_missing=False) for role, name in names.items() if name}

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

    def rendered(self, boot: Boot) -> tuple[str, dict[str, str]]:
        """Return the template of a boot's stack as YAML, and its parameters, one of which holds a private key."""
        return template.render(stack_of(self._cloud, self._settings, boot)), parameters_of(boot)

    async def provision(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Make the stack or let it grow, and yield each server as soon as Heat has it."""
        self._host_keys.expect(boot)
        async for node in self._provisioning(boot, emit).nodes(boot):
            yield node

    async def settle(self, boot: Boot, emit: Emit) -> None:
        """Wait until the stack is complete."""
        await self._provisioning(boot, emit).settle(boot)

    def _provisioning(self, boot: Boot, emit: Emit) -> Provisioning:
        return Provisioning(self._cloud, self._settings, self._stack(boot.cluster), emit)

    async def rebuild(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Give servers a fresh disk by Nova; who still tells the keys of the old one is not believed."""
        told = await self._host_keys.before_rebuild(boot)
        async for node in servers.rebuild(self._cloud, self._marks(boot.cluster), told.nodes):
            yield node

    def obstacles(self, change: Change) -> list[Problem]:
        """Compare what was recorded of a cluster with what the cloud has, as far as it matters for a change."""
        from cloudmesh_cluster.providers.openstack.standing import obstacles

        return obstacles(self._cloud, self._settings, self._stack(change.cluster), change)

    async def host_keys(self, node: Node, *, deadline: float) -> HostKeys:
        """Return the host keys that cloud-init printed on the console, or that the node told Heat, as is set."""
        return await self._host_keys.learn(node, deadline=deadline)

    async def volumes(self, node: Node, spec: RoleSpec) -> dict[str, str]:
        """Return the ids of the volumes that Nova has attached."""
        return await asyncio.to_thread(servers.volumes, self._cloud, node, spec.mounts)

    async def dial(self, node: Node, port: int = 22) -> socket.socket:
        """Return a socket connected to the node's floating IP, or to its fixed address where it has none."""
        inner = socket.socket()
        inner.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(inner, (node.public_ip or node.private_ip, port))
        except BaseException:  # a cancelled login, too, must not leave its socket open; raised again
            inner.close()
            raise
        return inner

    def via(self, node: Node) -> bool:
        """Return whether a node is reached through the master."""
        return self._settings.floating_ip == "master" and node.index != 0

    def ssh_route(self, node: Node) -> dict[str, str]:
        """Return the jump through the master, where there is one."""
        return {"ProxyJump": f"{node.cluster}-master"} if self.via(node) else {}

    def evidence(self, cluster: str) -> dict[str, str]:
        """Return what happened to the stack and its resources."""
        rows = [(each.at, each.resource, each.status, each.reason) for each in self._stack(cluster).history()]
        return {"stack-events.log": "".join("  ".join(row).rstrip() + "\n" for row in rows)}

    def console(self, node: Node) -> str:
        """Return the console log that Nova keeps."""
        return servers.console(self._cloud, node.provider_id) if node.provider_id else ""

    def events(self, cluster: str) -> list[Event]:
        """Return what Heat says has happened to the stack and its resources."""
        return [
            Event("cloud", each.resource, _node_name(cluster, each.resource), each.in_words, at=each.at)
            for each in self._stack(cluster).history()
        ]

    def states(self, cluster: str) -> dict[str, str]:
        """Return the state of each server, by one call."""
        return servers.states(self._cloud, self._marks(cluster))

    def states_of(self, found: FoundCluster) -> dict[str, str]:
        """Return the state of each server of a cluster that need not be known here, by name."""
        return servers.states(self._cloud, Marks(found.name, found.cluster_id))

    async def start(self, nodes: Sequence[Node], emit: Emit) -> None:
        """Start servers, whatever they rest in, and wait until Nova says that they run; so a suspended stack."""
        if nodes:
            stack = await asyncio.to_thread(self._stack, nodes[0].cluster)
            await servers.start(self._cloud, stack.marks, nodes)
            await self._resume_stack(stack, emit)

    async def _resume_stack(self, stack: Stack, emit: Emit) -> None:
        """Let Heat know that a stack which somebody has suspended is not so any more: it changes no suspended one."""
        found = await asyncio.to_thread(stack.find)
        if found is None or not found.stack_status.startswith("SUSPEND_"):
            return
        since = await stack.last_event()
        await to_its_end(stack.resume)
        async for event in stack.follow(since):
            if event.failed and event.of_stack:
                raise await failure(self._cloud, stack, event)
        emit(Event("info", "start nodes", message=f"stack {stack.name} was suspended, and is resumed"))

    async def stop(self, nodes: Sequence[Node]) -> None:
        """Stop servers and wait until Nova says that they have stopped."""
        if nodes:
            await servers.stop(self._cloud, self._marks(nodes[0].cluster), nodes)

    async def destroy(self, cluster: str, nodes: Sequence[str]) -> None:
        """Take servers out of the stack, also those that Heat is about to make.

        Raises:
            ProviderError: the stack can't be changed, or still has some of them.

        """
        stack, indices = self._stack(cluster), [_index_of(cluster, name) for name in nodes]
        before = await asyncio.to_thread(stack.find)
        if before is None:
            return
        await self._take_out(stack, indices)
        if not before.stack_status.endswith("_COMPLETE"):
            await asyncio.to_thread(remove_strays, self._cloud, stack.marks, before)

    async def _take_out(self, stack: Stack, indices: Sequence[int]) -> None:
        failed: StackEvent | None = None
        for _ in range(SHRINK_ATTEMPTS):
            if not await asyncio.to_thread(stack.has_any, indices):
                return
            since = await stack.last_event()
            smaller = template.shrunk(await asyncio.to_thread(stack.template), indices=indices)
            await to_its_end(stack.update, smaller, {})
            async for event in stack.follow(since):
                failed = event if event.failed and event.of_stack else failed
        if failed:
            raise await failure(self._cloud, stack, failed)
        raise ProviderError(f"stack {stack.name} still has {', '.join(f'server_{index}' for index in indices)}")

    async def destroy_all(self, cluster: str) -> None:
        """Delete the stack with everything in it."""
        await self._stack(cluster).delete()

    def leftovers(self, cluster: str, *, nodes: Sequence[str] | None = None) -> list[Leftover]:
        """Return what the cloud still has of the cluster, or which servers of some nodes."""
        if nodes is not None:
            there = self.states(cluster)
            return [Leftover("server", name, f"openstack server delete {name}") for name in nodes if name in there]
        try:
            with in_words():
                return remains(self._cloud, self._stack(cluster))
        except (ProviderError, UsageError) as error:  # where it may still be can't be looked at
            return [Leftover("stack", Marks(cluster).stack, error.message)]

    def find(self, cluster: str) -> FoundCluster | None:
        """Return what the cloud tells of a cluster, whoever made it; None when it has none of that name."""
        return find_cluster(self._cloud, cluster)

    def list_clusters(self) -> list[ListedCluster]:
        """Return all clusters of the project that bear our tags."""
        return list_clusters(self._cloud)

    def orphans(self, known: Collection[Marks]) -> list[Orphan]:
        """Return what has our marks in the project and belongs to none of the known clusters."""
        return orphans(self._cloud, known)

    async def remove_orphan(self, orphan: Orphan) -> None:
        """Delete something that `orphans` has found."""
        if orphan.kind == "stack":
            await Stack(self._cloud, orphan.marks).delete()
        else:
            await asyncio.to_thread(remove, self._cloud, orphan)

    def _stack(self, cluster: str) -> Stack:
        return Stack(self._cloud, self._marks(cluster))

    def _marks(self, cluster: str) -> Marks:
        """Return the marks of a cluster, which is in this project if it is known here."""
        return own_marks(self._home, self._cloud, cluster)


def _specs(profile: Profile) -> dict[str, RoleSpec]:
    return {"master": profile.master, "worker": profile.worker}


def _node_name(cluster: str, resource: str) -> str:
    """Return the name of the node that a resource of the stack belongs to; empty for what all share."""
    index = heat_names.index_of(resource)
    return "" if index is None else f"{cluster}-master" if index == 0 else f"{cluster}-worker-{index}"


def _index_of(cluster: str, name: str) -> int:
    short = name.removeprefix(f"{cluster}-")
    return 0 if short == "master" else int(short.removeprefix("worker-"))
