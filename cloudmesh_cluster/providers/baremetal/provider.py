"""The provider `baremetal`: machines that exist already become nodes, and are given back as they were."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from cloudmesh_cluster.core.errors import ProviderError, Unreachable, UsageError
from cloudmesh_cluster.core.events import Emit, Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import HostKeys, Leftover, Machine, Node, Problem, Profile, RoleName, RoleSpec
from cloudmesh_cluster.nodes.boot_steps import give_back, take_machine
from cloudmesh_cluster.providers.baremetal.routes import Route, connect, route_to
from cloudmesh_cluster.providers.baremetal.settings import Settings
from cloudmesh_cluster.providers.base import Boot, Change, Placement, Room
from cloudmesh_cluster.state.store import State

if TYPE_CHECKING:
    from cloudmesh_cluster.plugins.model import Plugin
    from cloudmesh_cluster.providers.baremetal.inspection import Wanted
    from cloudmesh_cluster.providers.baremetal.login import Login

T = TypeVar("T")
GIVE_BACK = 600.0
"""Seconds in which a machine must be as it was; packages may have to go."""
ANSWER = 10.0
BANNER = b"SSH-"


class BareMetalProvider:
    """Machines that exist already.

    The user's own key opens them once; it lets the cluster's login key in, as everywhere, in a block that goes again.

    Args:
        home: whose clusters.
        settings: as `for_profile` makes them, or as in `providers.yaml`.

    """

    signal = host_keys_signal = None
    touched = True

    def __init__(self, home: Home, settings: Mapping[str, object]) -> None:
        self._home = home
        self._settings = Settings.of(settings)
        self._routes: dict[str, Route] = {}
        self._host_keys: dict[str, HostKeys] = {}
        self._never_reached: set[str] = set()
        self._left: dict[str, Leftover] = {}

    def cloud_project(self) -> None:
        """Return None: machines are of no cloud."""

    def recognize(self, cluster: str) -> None:
        """Do nothing: a machine is recognized by its host key, and says itself which cluster it belongs to."""

    def complete(self, profile: Profile) -> Profile:
        """Return the profile as it is: machines have the size that they have."""
        return profile

    def preflight(
        self,
        profile: Profile,
        *,
        needs_internet: bool,
        cluster: str = "",
        new: Sequence[Node] | None = None,
        trust_on_first_use: bool = False,
    ) -> tuple[list[Problem], list[str]]:
        """Look at every machine at once: what keeps it from being a node, with what to type against it."""
        from cloudmesh_cluster.plugins.firewall import is_closed
        from cloudmesh_cluster.plugins.model import FIREWALL_PACKAGE
        from cloudmesh_cluster.plugins.resolve import resolve
        from cloudmesh_cluster.providers.baremetal.inspection import inspect

        key = self._settings.private_key
        if key is not None and not key.is_file():
            return [Problem("provider baremetal", f"no private key {key}", f"ssh-keygen -f {key}")], []
        if problems := [*_volumes(profile)]:
            return problems, []
        if not self._settings.machines:
            return [], ["which machines there are, says the profile (machines: head, compute)"]
        machines = dict(enumerate(self._settings.machines[: profile.worker.count + 1]))
        if new is not None:
            machines = {node.index: self._machine(node) for node in new}
        uses = resolve(profile.plugins, self._home)
        plugins = [chosen.plugin for chosen in uses]
        wanted = [_wanted(index, machine, profile, plugins) for index, machine in machines.items()]
        needs_apt = any(set(plugin.packages) - {FIREWALL_PACKAGE} for plugin in plugins)
        closes = any(is_closed(chosen, profile.listen_to) for chosen in uses)
        return _to_its_end(
            inspect(
                wanted, self._settings,
                cluster=self._marks(cluster), needs_apt=needs_apt, closes=closes,
                trust_on_first_use=trust_on_first_use,
            )
        )  # fmt: skip

    def room(self, profile: Profile, nodes: Sequence[Node]) -> tuple[Room, ...]:
        """Return nothing: machines are what they are."""
        return ()

    def disk(self, profile: Profile, nodes: Sequence[Node]) -> int | None:
        """Return nothing: what of a machine's disk is the cluster's is not limited."""
        return None

    def missing(self, profile: Profile, packages: Sequence[str]) -> tuple[str, ...]:
        """Return the packages, of which a machine may have some."""
        return (f"on each machine that lacks them: {' '.join(packages)}",) if packages else ()

    def place(self, cluster: str, indices: Sequence[int], *, taken: Sequence[str]) -> Placement:
        """Choose machines of the list that are not taken: the first for the master, the others in their order."""
        if not self._settings.machines:
            hint = "machines: {head: [ADDRESS], compute: [ADDRESS...]} in the profile"
            raise UsageError("the profile lists no machines", hint=hint)
        head, *compute = [(machine, self._route(machine).address) for machine in self._settings.machines]
        free = [(machine, address) for machine, address in compute if address not in taken]
        chosen = {0: head} if 0 in indices else {}
        workers = [index for index in indices if index != 0]
        if len(workers) > len(free):
            what = f"{len(workers)} machines are wanted, {len(free)} of the {len(compute)} in machines.compute are free"
            raise UsageError(what, hint="list more machines in the profile, or ask for fewer workers")
        chosen |= dict(zip(workers, free, strict=False))
        addresses = {index: address for index, (_, address) in chosen.items()}
        if len(set(addresses.values())) < len(addresses):
            raise UsageError("two machines have the same address", hint="list each machine once")
        ids = {index: str(machine) for index, (machine, _) in chosen.items()}
        return Placement(_network([*addresses.values(), *taken]), addresses, ids)

    async def make_image(self, profile: Profile, packages: Sequence[str], emit: Emit) -> None:
        """Do nothing: machines that exist have their system."""

    async def provision(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Take the machines, all at once, and yield each node as soon as the cluster's key opens it."""
        taking = [asyncio.ensure_future(self._take(each.node, boot, emit)) for each in boot.nodes]
        try:
            for node in asyncio.as_completed(taking):
                yield await node
        finally:
            for task in taking:
                task.cancel()
            await asyncio.gather(*taking, return_exceptions=True)

    async def rebuild(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Release the machines and take them again; their disks are nobody's to make anew."""
        await self.destroy(boot.cluster, [each.node.name for each in boot.nodes])
        async for node in self.provision(boot, emit):
            yield node

    def obstacles(self, change: Change) -> list[Problem]:
        """Return nothing: no machine has to do with another one."""
        return []

    async def _take(self, node: Node, boot: Boot, emit: Emit) -> Node:
        from cloudmesh_cluster.providers.baremetal.login import run, text

        login = await self._log_in(node, trust_on_first_use=boot.trust_on_first_use)
        try:
            if login.host_keys.source == "first use":
                self._pin(node, login, emit)
            step = take_machine(
                cluster=Marks(boot.cluster, boot.cluster_id),
                user=self._settings.user,
                node=node,
                login_public_key=boot.login_public_key,
            )
            done = await run(login, step.command, step.stdin, sudo=True)
        finally:
            login.connection.abort()
        if done.exit_status != 0:
            last = (text(done.stderr).strip() or "no output").splitlines()[-1]
            raise ProviderError(f"machine {node.provider_id} ({node.name}) could not be taken: {last}")
        return replace(node, state="taken")

    def _pin(self, node: Node, login: Login, emit: Emit) -> None:
        """Write down, before the machine is touched, a host key that nobody vouches for: giving it back needs it."""
        with State(self._home) as state:
            known = state.host_keys(node.cluster).get(node.name)
            state.put_host_keys(node.cluster, node.name, login.host_keys)
        if not known:
            words = f"its host key {login.fingerprint} is trusted on first use: your known hosts have none of it"
            emit(Event("warning", node=node.name, message=words))

    async def _log_in(self, node: Node, *, trust_on_first_use: bool = False) -> Login:
        from cloudmesh_cluster.providers.baremetal.login import NoLogin, log_in

        key = self._home.login_key(node.cluster)
        try:
            login = await log_in(
                self._machine(node), self._settings,
                more_keys=[key] if key.exists() else [],
                pinned=self._trusted_on_first_use(node), trust_on_first_use=trust_on_first_use,
            )  # fmt: skip
        except NoLogin as error:
            if node.state == "planned":
                self._never_reached.add(node.name)
            raise Unreachable(node.name, error.message, hint=error.hint) from error
        self._host_keys[node.name] = login.host_keys
        return login

    def _trusted_on_first_use(self, node: Node) -> list[str]:
        with State(self._home) as state:
            there = state.cluster(node.cluster).nodes if node.cluster in state.cluster_names() else ()
            known = {each.name for each in there if each.host_key_from == "first use"}
            return state.host_keys(node.cluster)[node.name] if node.name in known else []

    async def settle(self, boot: Boot, emit: Emit) -> None:
        """Do nothing: a machine that answers is all there is."""

    async def host_keys(self, node: Node, *, deadline: float) -> HostKeys:
        """Return the host keys by which the user knows the machine, or the one that it has shown and may be trusted."""
        if node.name not in self._host_keys:
            (await self._log_in(node)).connection.abort()
        return self._host_keys[node.name]

    async def volumes(self, node: Node, spec: RoleSpec) -> dict[str, str]:
        """Return none: preflight has refused a profile that asks for any."""
        return {}

    async def dial(self, node: Node, port: int = 22) -> socket.socket:
        """Return a socket connected to a port of a machine, by the way that the user's SSH configuration says."""
        route = await asyncio.to_thread(self._route, self._machine(node))
        return await connect(route, node.private_ip, route.port if port == 22 else port)

    def via(self, node: Node) -> bool:
        """Return False: jump hosts are those of the user's SSH configuration."""
        return False

    def ssh_route(self, node: Node) -> dict[str, str]:
        """Return the port and the program by which the system's ssh reaches a machine."""
        route = self._route(self._machine(node))
        options = {"Port": str(route.port)} if route.port != 22 else {}
        if route.program:
            options["ProxyCommand"] = route.program.replace("%", "%%")
        return options | ({"ProxyUseFdpass": "yes"} if route.passes_descriptor else {})

    def evidence(self, cluster: str) -> dict[str, str]:
        """Return nothing: machines have no keeper who could tell more than they."""
        return {}

    def console(self, node: Node) -> str:
        """Return nothing: nobody sees the console of a machine from here."""
        return ""

    def events(self, cluster: str) -> list[Event]:
        """Return nothing: machines keep no history of clusters."""
        return []

    def states(self, cluster: str) -> dict[str, str]:
        """Ask each machine for the first words of its SSH server, without a login."""
        nodes = self._nodes(cluster)
        answers = _to_its_end(_together([self._answers(node) for node in nodes]))
        return {node.name: "running" if there else "unreachable" for node, there in zip(nodes, answers, strict=True)}

    async def _answers(self, node: Node) -> bool:
        try:
            async with asyncio.timeout(ANSWER):
                with await self.dial(node) as connected:
                    return (await asyncio.get_running_loop().sock_recv(connected, 64)).startswith(BANNER)
        except (OSError, UsageError):
            return False

    async def start(self, nodes: Sequence[Node], emit: Emit) -> None:
        """Do nothing for machines that are on: nobody switches them on from here.

        Raises:
            ProviderError: names those that do not answer.

        """
        answers = await _together([self._answers(node) for node in nodes])
        silent = [f"{node.provider_id} ({node.name})" for node, there in zip(nodes, answers, strict=True) if not there]
        if silent:
            hint = "switch them on, then try again"
            raise ProviderError(f"cm can't switch machines on: {', '.join(silent)}", hint=hint)

    async def stop(self, nodes: Sequence[Node]) -> None:
        """Do nothing: machines stay on."""

    async def destroy(self, cluster: str, nodes: Sequence[str]) -> None:
        """Give machines back as they were.

        Raises:
            ProviderError: one of them could not be given back.

        """
        there = [node for node in self._nodes(cluster) if node.name in nodes]
        await _together([self._give_back(node) for node in there])
        if left := self.leftovers(cluster, nodes=nodes):
            raise ProviderError("; ".join(f"{each.kind} {each.id}" for each in left), hint=left[0].remedy)

    async def destroy_all(self, cluster: str) -> None:
        """Give all machines of a cluster back as they were; `leftovers` says which of them are not."""
        await _together([self._give_back(node) for node in self._nodes(cluster)])

    async def _give_back(self, node: Node) -> None:
        from cloudmesh_cluster.providers.baremetal.login import NoLogin, run, text

        if node.name in self._never_reached:
            return
        reason = ""
        try:
            login = await self._log_in(node)
            try:
                step = give_back(self._marks(node.cluster) or Marks(node.cluster))
                done = await run(login, step.command, step.stdin, sudo=True, timeout=GIVE_BACK)
            finally:
                login.connection.abort()
            left = " ".join(text(done.stdout).split())
            if done.exit_status != 0:
                reason = (text(done.stderr).strip() or "no output").splitlines()[-1]
            elif left:
                reason = f"still has {left}"
        except (NoLogin, Unreachable) as error:
            reason = error.message
        self._left.pop(node.name, None)
        if reason:
            remedy = f"cm cluster delete {node.cluster} when it answers again"
            self._left[node.name] = Leftover("machine", f"{node.provider_id} ({node.name}): {reason}", remedy)

    def leftovers(self, cluster: str, *, nodes: Sequence[str] | None = None) -> list[Leftover]:
        """Return the machines that could not be given back."""
        return [left for name, left in self._left.items() if nodes is None or name in nodes]

    def _marks(self, cluster: str) -> Marks | None:
        """Return name and id of a cluster that is known here; None for one that is not."""
        with State(self._home) as state:
            return Marks(cluster, state.cluster_id(cluster)) if cluster in state.cluster_names() else None

    def _nodes(self, cluster: str) -> tuple[Node, ...]:
        with State(self._home) as state:
            return state.cluster(cluster).nodes if cluster in state.cluster_names() else ()

    def _machine(self, node: Node) -> Machine:
        word = node.provider_id or node.private_ip
        for machine in self._settings.machines:
            if str(machine) == word:
                return machine
        host, _, port = word.partition(":")
        return Machine(host, int(port) if port else None)

    def _route(self, machine: Machine) -> Route:
        if str(machine) not in self._routes:
            self._routes[str(machine)] = route_to(machine, self._settings)
        return self._routes[str(machine)]


def _wanted(index: int, machine: Machine, profile: Profile, plugins: Sequence[Plugin]) -> Wanted:
    from cloudmesh_cluster.providers.baremetal.inspection import Wanted

    role: RoleName = "master" if index == 0 else "worker"
    return Wanted(
        machine,
        "master" if index == 0 else f"worker-{index}",
        profile.master if index == 0 else profile.worker,
        tuple(port.number for plugin in plugins for port in plugin.ports if port.role == role),
    )


def _volumes(profile: Profile) -> Iterator[Problem]:
    """Find what nobody could make."""
    for role, spec in (("master", profile.master), ("worker", profile.worker)):
        if spec.volumes:
            what = "machines have the disks that they have: provider baremetal makes no volumes"
            yield Problem(f"roles.{role}.volumes", what, "leave them out, and mount those disks yourself")


def _network(addresses: Sequence[str]) -> str:
    """Return the smallest network that has all addresses."""
    numbers = [int(ipaddress.IPv4Address(address)) for address in addresses]
    prefix = 32 - (min(numbers) ^ max(numbers)).bit_length()
    return str(ipaddress.IPv4Network((min(numbers), prefix), strict=False))


async def _together(tasks: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    return list(await asyncio.gather(*tasks))


def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop of its own, from where another loop may be running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
