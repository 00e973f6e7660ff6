"""The clouds that this home knows, and the clusters that they have, known here or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cloudmesh_cluster.config.providers_file import choose_provider, load_providers
from cloudmesh_cluster.core.errors import CmError, ProviderError, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Cluster
from cloudmesh_cluster.state.store import State

if TYPE_CHECKING:
    from cloudmesh_cluster.providers.openstack.found import ListedCluster
    from cloudmesh_cluster.providers.openstack.provider import OpenStackProvider

T = TypeVar("T")
Warn = Callable[[str], None]
FROM_ENVIRONMENT = "OS_*"


@dataclass(frozen=True)
class KnownCloud:
    """A cloud that clusters can be on.

    Args:
        name: its entry of `clouds.yaml`, or `OS_*` where the environment says everything.
        provider: talks to it.

    """

    name: str
    provider: OpenStackProvider


@dataclass(frozen=True)
class RemoteCluster:
    """A cluster as its cloud lists it; `profile` is empty where it is not known here."""

    name: str
    state: str
    provider: str
    profile: str
    nodes: int
    created_at: str
    known: bool


def known_clouds(home: Home, environ: Mapping[str, str], *, provider: str | None = None) -> list[KnownCloud]:
    """Return the clouds of `providers.yaml`, of the environment and of the clusters there are, each once.

    Args:
        home: whose.
        environ: the environment.
        provider: only the cloud of this provider.

    Raises:
        UsageError: the provider is no cloud.

    """
    from cloudmesh_cluster.providers.openstack.provider import OpenStackProvider

    settings: dict[str, Mapping[str, object]] = {}

    def add(given: Mapping[str, object]) -> str:
        name = str(given.get("os_cloud") or environ.get("OS_CLOUD") or FROM_ENVIRONMENT)
        settings.setdefault(name, given)
        return name

    if environ.get("OS_CLOUD") or environ.get("OS_AUTH_URL"):
        add({})
    for entry in load_providers(home).entries.values():
        if entry.type == "openstack":
            add(entry.settings)
    if home.state_file.exists():
        with State(home) as state:
            for name in state.cluster_names():
                record = state.record(name)
                if record.provider_type == "openstack":
                    add(record.provider_settings)
    if provider is not None:
        choice = choose_provider(home, option=provider, profile=None, environ=environ)
        if choice.type != "openstack":
            raise UsageError(f"provider {provider!r} is {choice.type}, no cloud", hint="--provider openstack")
        wanted = add(choice.settings)
        settings = {wanted: settings[wanted]}
    return [KnownCloud(name, OpenStackProvider(home, given)) for name, given in settings.items()]


def clusters_on_clouds(home: Home) -> dict[Marks, Cluster]:
    """Return the clusters on OpenStack that are known here, by the marks of what they consist of."""
    if not home.state_file.exists():
        return {}
    with State(home) as state:
        records = [(each, state.record(each.name)) for each in state.clusters()]
    return {Marks(each.name, its.cluster_id): each for each, its in records if its.provider_type == "openstack"}


def ask_each(clouds: list[KnownCloud], question: Callable[[KnownCloud], list[T]], warn: Warn) -> list[T]:
    """Return what all clouds answer; one that does not is warned about.

    Raises:
        CmError: none of them answers.

    """
    found: list[T] = []
    failed: list[CmError] = []
    for cloud in clouds:
        try:
            found += question(cloud)
        except (ProviderError, UsageError) as error:
            failed.append(error)
    if failed and len(failed) == len(clouds):
        raise failed[0]
    for each in failed:
        warn(each.message)
    return found


def remote_clusters(
    home: Home, environ: Mapping[str, str], warn: Warn, *, provider: str | None = None
) -> list[RemoteCluster]:
    """Return the clusters of all clouds, whoever made them.

    Raises:
        UsageError: no cloud is known here.

    """
    clouds = known_clouds(home, environ, provider=provider)
    if not clouds:
        raise UsageError("no cloud is known here", hint="set OS_CLOUD, or name one in providers.yaml")
    known = clusters_on_clouds(home)

    def clusters_of(cloud: KnownCloud) -> list[RemoteCluster]:
        listed = cloud.provider.list_clusters()
        return [_as_listed(cloud, each, known.get(Marks(each.name, each.cluster_id))) for each in listed]

    return ask_each(clouds, clusters_of, warn)


def _as_listed(cloud: KnownCloud, listed: ListedCluster, known: Cluster | None) -> RemoteCluster:
    is_known = known is not None and (bool(listed.cluster_id) or _is_same(known, listed.servers))
    return RemoteCluster(
        name=listed.name,
        state=listed.stack_status.lower(),
        provider=cloud.name,
        profile=known.profile if known and is_known else "",
        nodes=len(listed.servers),
        created_at=listed.created_at,
        known=is_known,
    )


def _is_same(known: Cluster, servers: Sequence[str]) -> bool:
    """Return whether a cluster without an id is the one that has these servers: names are not unique."""
    own = {node.provider_id for node in known.nodes if node.provider_id}
    return not own or not servers or not own.isdisjoint(servers)
