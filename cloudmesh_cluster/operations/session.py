"""What every step of an operation works with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, Node
from cloudmesh_cluster.nodes.keys import read_private
from cloudmesh_cluster.operations.journal import Journal
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.providers.base import Provider
from cloudmesh_cluster.ssh.connections import Connections
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.store import State

if TYPE_CHECKING:
    from cloudmesh_cluster.plugins.model import ChosenPlugin

OnFailure = Literal["rollback", "keep"]


class Session:
    """What every step of an operation needs: the home, the journal, the cluster and its provider."""

    def __init__(self, home: Home, journal: Journal, provider: Provider | None = None) -> None:
        self.home = home
        self.journal = journal
        self.state = journal.state
        self.name = journal.operation.cluster
        self.state_before = _state_of(journal.state, self.name)
        self._provider = provider
        self._asked_provider = False
        self._connections: Connections | None = None
        self.end_state, self.end_error = "done", ""
        """How the operation ends in the history, if nothing fails."""

    @property
    def cluster(self) -> Cluster:
        """The cluster as the journal knows it now."""
        return self.state.cluster(self.name)

    @property
    def record(self) -> ClusterRecord:
        """What is kept of the cluster beyond its row."""
        return self.state.record(self.name)

    @property
    def user(self) -> str:
        """The login user of the nodes."""
        return self.record.profile.user

    @property
    def provider(self) -> Provider:
        """Where the cluster's nodes come from."""
        self._asked_provider = True
        if self._provider is None:
            record = self.record
            self._provider = provider_of(self.home, record.provider_type, record.provider_settings)
        return self._provider

    @property
    def touched(self) -> bool:
        """Whether this operation may have changed anything: here, through the provider, or on a node."""
        steps = self.state.steps(self.journal.operation.id)
        if any(step.undo is not None or step.state == "done" for step in steps):
            return True
        if self._asked_provider and self.provider.touched:
            return True
        return self._connections is not None and self._connections.used

    @property
    def machines_stay(self) -> bool:
        """Whether the nodes were there before the cluster and are given back: none boots, none is destroyed."""
        return self.record.provider_type == "baremetal"

    @property
    def trusts_on_first_use(self) -> bool:
        """Whether the user has said that a node may be believed for whose host key nobody vouches."""
        return bool(self.journal.operation.request.get("trust_on_first_use"))

    @property
    def logs(self) -> str:
        """The folder of this operation's evidence."""
        return str(self.home.logs(self.name, self.journal.operation.id))

    @property
    def plugins(self) -> tuple[ChosenPlugin, ...]:
        """The cluster's plugins with their settings, those that others require first."""
        from cloudmesh_cluster.plugins.resolve import resolve

        return resolve(self.record.profile.plugins, self.home)

    def set_node_states(self, nodes: Sequence[Node], state: str) -> None:
        """Write down a new state of nodes."""
        self.state.put_nodes(self.name, [replace(node, state=state) for node in nodes])

    def running(self, nodes: Sequence[Node]) -> list[Node]:
        """Return those of some nodes that the provider says run."""
        now = self.provider.states(self.name)
        return [node for node in nodes if now.get(node.name) == "running" or self._is_logged_in(node)]

    def _is_logged_in(self, node: Node) -> bool:
        """Return whether a machine that stays is connected: a busy one may not greet another connection in time."""
        return self.machines_stay and self._connections is not None and self._connections.is_open(node)

    def forget_boots(self, nodes: Sequence[Node]) -> None:
        """Write down that nodes were destroyed and are still to be booted: their keys are not believed again.

        Machines that stay keep their keys.
        """
        if not self.machines_stay:
            self.state.forget_boots(self.name, [node.name for node in nodes])

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[Connections]:
        """Yield the SSH connections of this operation: one a node, made when first needed, kept for all its steps."""
        if self._connections is None:
            self._connections = connections_of(self.home, self.state, self.name, self.provider)
        yield self._connections

    async def disconnect(self, nodes: Sequence[Node] | None = None) -> None:
        """Close the SSH connections to nodes that are about to go, or all of them."""
        if self._connections is not None and nodes is not None:
            for node in nodes:
                await self._connections.close_node(node)
        elif self._connections is not None:
            await self._connections.close()


def _state_of(state: State, cluster: str) -> str | None:
    return state.cluster(cluster).state if cluster in state.cluster_names() else None


def connections_of(home: Home, state: State, cluster: str, provider: Provider) -> Connections:
    """Return SSH connections to the nodes of a cluster, with its login key and the pinned host keys."""
    return Connections(
        provider.dial,
        user=state.record(cluster).profile.user,
        login_key=read_private(home.login_key(cluster)),
        host_keys=state.host_keys(cluster),
        via=lambda node: state.cluster(cluster).master if provider.via(node) else None,
    )
