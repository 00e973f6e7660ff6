"""The provider `local`: real nodes on this machine, made by the node engine."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import os
import re
import shlex
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cloudmesh_cluster.core.errors import ProviderError, Unreachable, UsageError
from cloudmesh_cluster.core.events import Emit, Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import HostKeys, Leftover, Node, Problem, Profile, RoleSpec
from cloudmesh_cluster.nodes.hosts import parse_console_host_keys
from cloudmesh_cluster.providers.base import Boot, Change, NodeBoot, Placement, Room
from cloudmesh_cluster.providers.blocking import to_its_end
from cloudmesh_cluster.providers.local.config_drives import config_drives, write_config_drive
from cloudmesh_cluster.providers.local.engine import dial
from cloudmesh_cluster.providers.local.engine.engine import Engine, NodeSpec
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.images import Images

DEFAULT_NETWORK = "10.88.0.0/16"
FIRST_ADDRESS = 10
SPACE_OF_A_NODE = 8
"""What a node without any plugin writes at its first boot, in MiB, and some more."""
OVERCOMMITTED = ("MiB of memory",)
"""What nodes may be promised more of than there is, which is worth a warning."""
NEIGHBOURS_OF_A_NODE = 5
"""Entries of the kernel's ARP table, which all nodes share: 256 nodes overflow one of 1024."""
AT_ONCE = 8
BOOTED = ("reached", "running", "stopped")
"""States of nodes whose first boot has ended."""
CONSOLE_PAUSE = 0.1
ALIVE_EVERY = 2.0


class LocalProvider:
    """Nodes of this machine.

    Args:
        home: each cluster's nodes live in its folder, images in the cache.
        settings: `network` (CIDR), `mirror` (of apt, for the image), `image` (a tarball), `host_access` (whether nodes
            reach this machine's own addresses and 169.254.0.0/16).

    """

    signal = host_keys_signal = None
    touched = True

    def __init__(self, home: Home, settings: Mapping[str, object]) -> None:
        self._home = home
        self._images = Images(home.cache, settings)
        self._host_access = bool(settings.get("host_access"))
        try:
            self._network = ipaddress.IPv4Network(str(settings.get("network") or DEFAULT_NETWORK))
        except ValueError as error:
            raise UsageError(f"provider local: network: {error}", hint=f"network: {DEFAULT_NETWORK}") from error

    def complete(self, profile: Profile) -> Profile:
        """Return the profile as it is: nodes without a declared size share what this machine has."""
        return profile

    def cloud_project(self) -> None:
        """Return None: this machine is no cloud."""

    def recognize(self, cluster: str) -> None:
        """Do nothing: nodes of this machine are in the cluster's own folder."""

    def preflight(
        self,
        profile: Profile,
        *,
        needs_internet: bool,
        cluster: str = "",
        new: Sequence[Node] | None = None,
        trust_on_first_use: bool = False,
    ) -> tuple[list[Problem], list[str]]:
        """Return what this machine lacks, and what will be missed."""
        from cloudmesh_cluster.providers.local.engine.requirements import requirements

        where, problems, warnings = "provider local", [], []
        for lack in requirements():
            if lack.fatal or needs_internet:
                problems.append(Problem(where, lack.what, lack.hint))
            else:
                warnings.append(f"{lack.what} ({lack.hint})")
        for role in (profile.master, profile.worker):
            image = self._images.file(role.image)
            if image is not None and not image.is_file():
                problems.append(Problem(where, f"no image {image}", "the path of a tarball of a root file system"))
        if profile.master.volumes or profile.worker.volumes:
            warnings.append("nodes of this machine have no volumes: each mount is a folder of their own disk")
        needed = (1 + profile.worker.count) * SPACE_OF_A_NODE
        if (free := _free_space(self._home.root)) < needed:
            what = f"{free} MiB are free in {self._home.root}, where nodes have their disks; {needed} are the least"
            problems.append(Problem(where, what, "free some space, or set CM_HOME to a folder on a larger disk"))
        if (needed := (1 + profile.worker.count) * NEIGHBOURS_OF_A_NODE) > (most := _most_neighbours()):
            fix = f"sudo sysctl net.ipv4.neigh.default.gc_thresh3={2 * needed}"
            warnings.append(f"the kernel's ARP table has {most} places for all nodes, {needed} may be wanted ({fix})")
        for each in self._room(profile, 1 + profile.worker.count):
            if each.what in OVERCOMMITTED and each.needed > each.left:
                warnings.append(f"all nodes together may use {each.needed} {each.what}; {each.left} are free here")
        return list(dict.fromkeys(problems)), warnings

    def _room(self, profile: Profile, nodes: int) -> Iterator[Room]:
        specs = [profile.master, *[profile.worker] * (nodes - 1)]
        if all(spec.cpus for spec in specs):
            yield Room("CPUs", math.ceil(sum(spec.cpus or 0 for spec in specs)), os.cpu_count() or 1)
        if all(spec.memory for spec in specs):
            yield Room("MiB of memory", sum(spec.memory or 0 for spec in specs), _free_memory())
        yield Room("MiB of disk at least", nodes * SPACE_OF_A_NODE, _free_space(self._home.root))

    def room(self, profile: Profile, nodes: Sequence[Node]) -> tuple[Room, ...]:
        """Return what this machine has; nodes may be given more of it together than there is."""
        return tuple(self._room(profile, len(nodes)))

    def disk(self, profile: Profile, nodes: Sequence[Node]) -> int | None:
        """Return nothing: nodes share this machine's disk."""
        return None

    def missing(self, profile: Profile, packages: Sequence[str]) -> tuple[str, ...]:
        """Return which layers of the images are not in the cache."""
        return tuple(self._images.missing((profile.master.image, profile.worker.image), packages))

    def place(self, cluster: str, indices: Sequence[int], *, taken: Sequence[str]) -> Placement:
        """Choose addresses by index: every cluster has a network of its own, so that none is ever taken."""
        if max(indices, default=0) + FIRST_ADDRESS >= self._network.num_addresses - 1:
            raise UsageError(f"{len(indices)} nodes do not fit into {self._network}", hint="a larger network")
        return Placement(str(self._network), {i: str(self._network[FIRST_ADDRESS + i]) for i in indices})

    async def make_image(self, profile: Profile, packages: Sequence[str], emit: Emit) -> None:
        """Build what is missing in the cache of the images of both roles, with the packages baked in."""
        await self._images.layers((profile.master.image, profile.worker.image), packages, emit)

    async def image_layers(self, profile: Profile, packages: Sequence[str], emit: Emit) -> list[Path]:
        """Return the folders of the layers that nodes of a profile have, built when they are not in the cache."""
        layers = await self._images.layers((profile.master.image, profile.worker.image), packages, emit)
        return list(dict.fromkeys(layer.parent for each in layers.values() for layer in each))

    async def provision(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Start nodes, a few at a time, from images that `make_image` has built.

        A node whose first boot was cut off before it was reached gets a fresh disk: cloud-init goes on with no half.
        """
        engine = self._engine(boot.cluster)
        layers = await self._images.layers([each.spec.image for each in boot.nodes], boot.packages, emit)
        with _engine_errors():
            gateway = f"{self._network[1]}/{self._network.prefixlen}"
            no_egress = await to_its_end(partial(engine.open, gateway, host_access=self._host_access))
        if no_egress:
            emit(Event("info", "provision", message=f"nodes have no way out: {no_egress}"))
        running = engine.running()
        todo = [each for each in boot.nodes if each.node.name not in running]
        with _engine_errors():
            await to_its_end(engine.destroy, [each.node.name for each in todo if each.node.state not in BOOTED])
        for each in boot.nodes:
            if each.node.name in running:
                yield each.node
        for first in range(0, len(todo), AT_ONCE):
            some = todo[first : first + AT_ONCE]
            for warning in await to_its_end(self._start_some, engine, boot, some, layers):
                emit(Event("warning", "provision", message=warning))
            for each in some:
                yield each.node

    def _start_some(
        self, engine: Engine, boot: Boot, some: Sequence[NodeBoot], layers: Mapping[str | None, tuple[Path, ...]]
    ) -> list[str]:
        known = engine.known()
        with _engine_errors(), config_drives(self._home.cluster(boot.cluster)) as drives:
            specs: list[NodeSpec | str] = []
            for each in some:
                if each.node.name in known:
                    specs.append(each.node.name)
                    continue
                specs.append(
                    NodeSpec(
                        name=each.node.name,
                        address=f"{each.node.private_ip}/{self._network.prefixlen}",
                        layers=layers[each.spec.image],
                        drive=write_config_drive(drives, boot, each),
                        memory_mib=each.spec.memory,
                        cpus=each.spec.cpus,
                    )
                )
            return engine.start(specs)

    async def settle(self, boot: Boot, emit: Emit) -> None:
        """Do nothing: a node that answers is all there is."""

    async def rebuild(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Remove nodes with their disks and start them from their image."""
        await self.destroy(boot.cluster, [each.node.name for each in boot.nodes])
        async for node in self.provision(boot, emit):
            yield node

    def obstacles(self, change: Change) -> list[Problem]:
        """Return nothing: no node has to do with another one."""
        return []

    async def host_keys(self, node: Node, *, deadline: float) -> HostKeys:
        """Return the host keys that cloud-init printed on the node's console."""
        engine, began, looked = self._engine_of(node), time.monotonic(), time.monotonic()
        while not (keys := parse_console_host_keys(engine.console(node.name))):
            if time.monotonic() - looked > ALIVE_EVERY:
                looked = time.monotonic()
                if node.name not in await asyncio.to_thread(engine.running):
                    raise Unreachable(node.name, "the node has died", hint=_last_line(engine.console(node.name)))
            if time.monotonic() - began > deadline:
                raise Unreachable(node.name, f"no host key on its console within {deadline:g} s")
            await asyncio.sleep(CONSOLE_PAUSE)
        return HostKeys(tuple(keys), "console")

    async def volumes(self, node: Node, spec: RoleSpec) -> dict[str, str]:
        """Return folders of the node's own disk."""
        return dict.fromkeys(spec.mounts, "")

    async def dial(self, node: Node, port: int = 22) -> socket.socket:
        """Return a socket of the nodes' own network, connected to the node."""
        try:
            # In a thread: the one who makes the socket may be busy with starting nodes.
            inner = await asyncio.to_thread(dial.inner_socket, self._engine_folder(node.cluster))
        except EngineError as error:
            raise ConnectionRefusedError(str(error)) from error
        try:
            await asyncio.get_running_loop().sock_connect(inner, (node.private_ip, port))
        except BaseException:  # a cancelled login, too, must not leave its socket open; raised again
            inner.close()
            raise
        return inner

    def via(self, node: Node) -> bool:
        """Return False: every node is reached by a socket of its own network."""
        return False

    def ssh_route(self, node: Node) -> dict[str, str]:
        """Return the program that hands a connected socket to ssh."""
        program = shlex.join(dial.proxy_command(self._engine_folder(node.cluster), node.private_ip))
        return {"ProxyCommand": program.replace("%", "%%"), "ProxyUseFdpass": "yes"}

    def evidence(self, cluster: str) -> dict[str, str]:
        """Return nothing: what nodes print is on their consoles."""
        return {}

    def console(self, node: Node) -> str:
        """Return the node's console log."""
        return self._engine_of(node).console(node.name)

    def events(self, cluster: str) -> list[Event]:
        """Return nothing: the engine keeps no history."""
        return []

    def states(self, cluster: str) -> dict[str, str]:
        """Ask the engine which nodes run; those that only have a disk are stopped."""
        engine = self._engine(cluster)
        running = engine.running()
        return {name: "running" if name in running else "stopped" for name in engine.known()}

    async def start(self, nodes: Sequence[Node], emit: Emit) -> None:
        """Start stopped nodes with their disks."""
        if not nodes:
            return
        engine = self._engine_of(nodes[0])
        with _engine_errors():
            await to_its_end(partial(engine.open, host_access=self._host_access))
            running = engine.running()
            for warning in await to_its_end(engine.start, [node.name for node in nodes if node.name not in running]):
                emit(Event("warning", "start", message=warning))

    async def stop(self, nodes: Sequence[Node]) -> None:
        """End nodes at once; when none runs any more, their network goes too."""
        if not nodes:
            return
        engine = self._engine_of(nodes[0])
        with _engine_errors():
            await to_its_end(engine.stop, [node.name for node in nodes])
            if not engine.running():
                await to_its_end(engine.close)

    async def destroy(self, cluster: str, nodes: Sequence[str]) -> None:
        """Remove nodes with their disks."""
        with _engine_errors():
            await to_its_end(self._engine(cluster).destroy, nodes)

    async def destroy_all(self, cluster: str) -> None:
        """Remove all nodes, their network and their folder."""
        folder = self._engine_folder(cluster)
        # Also when somebody has removed the folder: the processes are found by their marker.
        with _engine_errors():
            await to_its_end(self._engine(cluster).cleanup)
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()

    def leftovers(self, cluster: str, *, nodes: Sequence[str] | None = None) -> list[Leftover]:
        """Return the processes, folders and control groups that still belong to the cluster's engine, or to nodes."""
        found = [Leftover(left.kind, left.id) for left in self._engine(cluster).leftovers()]
        if nodes is None:
            return found
        return [left for left in found if left.kind == "folder" and Path(left.id).name in nodes]

    def _engine_folder(self, cluster: str) -> Path:
        return self._home.cluster(cluster) / "engine"

    def _engine(self, cluster: str) -> Engine:
        return Engine(self._engine_folder(cluster), self._home.cache / "images")

    def _engine_of(self, node: Node) -> Engine:
        return self._engine(node.cluster)


def _free_space(folder: Path) -> int:
    """Return how many MiB a folder, or the folder that it will be made in, has room for."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(there).free // 2**20


def _free_memory() -> int:
    """Return how many MiB of memory programs can still have."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) // 2**10 if found else 0


def _most_neighbours() -> int:
    """Return how many entries the kernel's ARP table has, which all network namespaces share."""
    try:
        return int(Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3").read_text())
    except (OSError, ValueError):
        return 2**31  # not to be seen in this namespace, so that nothing can be said about it


def _last_line(text: str) -> str:
    return (text.strip() or "its console is empty").splitlines()[-1]


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Turn the engine's errors into the errors of `cm`."""
    try:
        yield
    except EngineError as error:
        raise ProviderError(error.message, hint=error.hint) from error
