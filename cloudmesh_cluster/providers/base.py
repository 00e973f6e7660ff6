"""What every provider can do: the one narrow door between the operations and where nodes come from."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cloudmesh_cluster.core.events import Emit, Event
from cloudmesh_cluster.core.model import Additions, CloudProject, HostKeys, Leftover, Node, Problem, Profile, RoleSpec


@dataclass(frozen=True)
class NodeBoot:
    """One node to boot, with the user_data of its first boot."""

    node: Node
    spec: RoleSpec
    user_data: bytes


@dataclass(frozen=True)
class Boot:
    """The nodes that one operation boots.

    Args:
        cluster: the cluster's name.
        network: the nodes' network as CIDR.
        nodes: what to boot, in order; the last one carries the propagation script.
        packages: Debian packages that plugins need, for providers that can bake them into the image.
        operation: the id of the operation that boots them.
        login_public_key: opens the login user's account.
        bootstrap_private_key: what the last node's user_data holds, for providers that must keep it out of sight.
        propagates: whether the last node's user_data holds the propagation script.
        additions: what the profile adds to the stack.
        trust_on_first_use: whether a machine may be believed that nobody vouches for.
        cluster_id: the random id of the cluster, which everything made for it is marked with.
        description: of the cluster, as JSON without secrets, for providers that keep it with the nodes.

    """

    cluster: str
    network: str
    nodes: tuple[NodeBoot, ...]
    packages: tuple[str, ...] = ()
    operation: str = ""
    login_public_key: str = ""
    bootstrap_private_key: bytes = field(default=b"", repr=False)
    propagates: bool = False
    description: str = ""
    additions: Additions | None = None
    trust_on_first_use: bool = False
    cluster_id: str = ""


@dataclass(frozen=True)
class Placement:
    """Where nodes will be: the network as CIDR, an address for each node index, and the provider's own id if known."""

    network: str
    addresses: dict[int, str]
    ids: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Room:
    """Something that is limited: what it is, how much of it is needed, and how much is left."""

    what: str
    needed: int
    left: int


ChangeKind = Literal["grow", "shrink", "replace", "start", "stop", "delete"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a cluster that has not begun.

    Args:
        kind: what is to be done.
        cluster: the cluster's name.
        stays: the nodes that are to stay as they are, or that are started or stopped.
        goes: the nodes that are destroyed.
        comes: the nodes that are made; a node that is replaced goes and comes.
        profile: says what new nodes are made of; None where none comes.

    """

    kind: ChangeKind
    cluster: str
    stays: tuple[Node, ...] = ()
    goes: tuple[Node, ...] = ()
    comes: tuple[Node, ...] = ()
    profile: Profile | None = None


class Provider(Protocol):
    """A place where nodes come from.

    `signal` is what the last node's user_data says where the cloud puts the command that tells it that the node is
    done; None where nobody waits for that. `host_keys_signal` likewise becomes the command by which each node tells the
    cloud its host keys; None where they are learnt in another way.
    """

    @property
    def signal(self) -> str | None:
        """What becomes the command that tells the cloud that the last node is done."""

    @property
    def host_keys_signal(self) -> str | None:
        """What becomes the command that tells the cloud a node's host keys."""

    def cloud_project(self) -> CloudProject | None:
        """Return the project of a cloud where nodes are made now; None where they are not a cloud's."""

    def recognize(self, cluster: str) -> None:
        """Make sure that what is reached now is where a known cluster is: only there can it be gone.

        Raises:
            UsageError: it is another project, or nobody can tell.

        """

    @property
    def touched(self) -> bool:
        """Whether anything may have been changed through this provider; True where it does not know."""

    def complete(self, profile: Profile) -> Profile:
        """Return the profile with what it leaves to the provider, such as image and size of its nodes."""

    def preflight(
        self,
        profile: Profile,
        *,
        needs_internet: bool,
        cluster: str = "",
        new: Sequence[Node] | None = None,
        trust_on_first_use: bool = False,
    ) -> tuple[list[Problem], list[str]]:
        """Return what forbids to boot such a cluster, all problems at once, and warnings.

        Args:
            profile: of the cluster.
            needs_internet: whether nodes must have a way out.
            cluster: its name; empty when none is meant, as for `cm provider check`.
            new: the nodes that are to be made; None for those of the profile. Without the master among them, the
                cluster is there already.
            trust_on_first_use: whether it is no problem that nobody vouches for a machine's host key.

        """

    def room(self, profile: Profile, nodes: Sequence[Node]) -> tuple[Room, ...]:
        """Return of each thing that is limited how much nodes need, and how much is left."""

    def disk(self, profile: Profile, nodes: Sequence[Node]) -> int | None:
        """Return the GiB that the disks of nodes have together, with their volumes; None where they have no size."""

    def missing(self, profile: Profile, packages: Sequence[str]) -> tuple[str, ...]:
        """Return what will be fetched or built for nodes and their plugins' Debian packages; not plugins' payloads."""

    def place(self, cluster: str, indices: Sequence[int], *, taken: Sequence[str]) -> Placement:
        """Choose addresses for nodes before they boot, none of `taken`."""

    async def make_image(self, profile: Profile, packages: Sequence[str], emit: Emit) -> None:
        """Have at hand what nodes boot from, before any node is made or touched; costs nothing when it is there.

        Args:
            profile: says the image of each role.
            packages: Debian packages that plugins need, for providers that can bake them into the image.
            emit: told what takes its time.

        Raises:
            UsageError: it can't be had.

        """

    def provision(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Boot nodes and yield each as soon as it runs; nodes that run already are yielded as they are."""

    async def settle(self, boot: Boot, emit: Emit) -> None:
        """Wait until all that belongs to a boot is done, when its nodes are reached and know each other's names.

        Raises:
            ProviderError: it is not.

        """

    def rebuild(self, boot: Boot, emit: Emit) -> AsyncIterator[Node]:
        """Give nodes a fresh disk and boot them again, and yield each as soon as it runs; address and name stay."""

    def obstacles(self, change: Change) -> list[Problem]:
        """Return why a change can't be made, or not without harm to nodes that stay: all problems at once."""

    async def host_keys(self, node: Node, *, deadline: float) -> HostKeys:
        """Return the host keys of a node as somebody vouches for them other than the node itself, waiting for them.

        Args:
            node: the node, which has been provisioned.
            deadline: seconds to wait.

        Raises:
            Unreachable: the node died, or nobody has told any in time.

        """

    async def volumes(self, node: Node, spec: RoleSpec) -> dict[str, str]:
        """Return the volumes of a node, as its devices are known by, by where they are to be mounted.

        Where volumes are folders of the node's own disk, they are known by nothing.

        Args:
            node: the node, which has been provisioned.
            spec: what the profile says of its role.

        Raises:
            ProviderError: the node has not got them.

        """

    async def dial(self, node: Node, port: int = 22) -> socket.socket:
        """Return a socket connected to a port of a node.

        Raises:
            OSError: nothing answers there.

        """

    def via(self, node: Node) -> bool:
        """Return whether a node is reached through the master's SSH server instead of by `dial`."""

    def ssh_route(self, node: Node) -> dict[str, str]:
        """Return the options by which the system's ssh reaches a node; none for a direct connection."""

    def evidence(self, cluster: str) -> dict[str, str]:
        """Return what else the provider can tell of what happened to a cluster: texts by file name."""

    def console(self, node: Node) -> str:
        """Return what a node has printed on its console."""

    def events(self, cluster: str) -> list[Event]:
        """Return what the cloud says has happened to the cluster, oldest first; nothing where nobody keeps that."""

    def states(self, cluster: str) -> dict[str, str]:
        """Return the state of each node that exists: "running" or "stopped", by name. Costs no SSH."""

    async def start(self, nodes: Sequence[Node], emit: Emit) -> None:
        """Start stopped nodes with their disks."""

    async def stop(self, nodes: Sequence[Node]) -> None:
        """Stop nodes, keeping their disks."""

    async def destroy(self, cluster: str, nodes: Sequence[str]) -> None:
        """Remove nodes by name with their disks; what is gone already is no error."""

    async def destroy_all(self, cluster: str) -> None:
        """Remove everything of a cluster that this provider made, however incomplete it is."""

    def leftovers(self, cluster: str, *, nodes: Sequence[str] | None = None) -> list[Leftover]:
        """Return what still exists of a cluster, or only of some of its nodes."""
