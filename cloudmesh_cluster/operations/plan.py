"""The plan: profile and options become one immutable object, which `--dry-run` prints and `create` carries out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cloudmesh_cluster.checks.runner import misplaced
from cloudmesh_cluster.config.profile import near_profile, profile_for, with_overrides
from cloudmesh_cluster.config.providers_file import ProviderChoice, choose_provider
from cloudmesh_cluster.core.amounts import counted
from cloudmesh_cluster.core.errors import InvalidInput, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.marks import new_cluster_id
from cloudmesh_cluster.core.model import CLUSTER_NAME, CloudProject, Cluster, Node, PluginUse, Profile, node_names
from cloudmesh_cluster.operations.session import OnFailure
from cloudmesh_cluster.operations.steps.host_keys import refuse_pointless_trust
from cloudmesh_cluster.plugins.firewall import is_closed
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.payload_sources import unprotected_source
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.providers.baremetal.settings import for_profile
from cloudmesh_cluster.providers.base import Provider


@dataclass(frozen=True)
class CreateRequest:
    """What the user asked for; None is what the profile or the default says.

    Args:
        name: the cluster's.
        profile: name of the profile.
        provider: name or type of the provider.
        workers: number of workers.
        image: of all roles.
        flavor: of all roles.
        floating_ip: which nodes get one, on OpenStack: "master", "all" or "none".
        os_cloud: the entry of `clouds.yaml`.
        settings: `KEY=VALUE`, for plugins (`hadoop.source=...`) or the profile (`roles.worker.memory=2G`).
        on_failure: "rollback" or "keep".
        timeout: seconds for the whole operation.
        trust_on_first_use: whether a node is believed for whose host key nobody vouches.

    """

    name: str
    profile: str | None = None
    provider: str | None = None
    workers: int | None = None
    image: str | None = None
    flavor: str | None = None
    floating_ip: str | None = None
    os_cloud: str | None = None
    settings: tuple[str, ...] = ()
    on_failure: OnFailure = "rollback"
    timeout: float | None = None
    trust_on_first_use: bool = False


@dataclass(frozen=True)
class Plan:
    """What will be done, complete: nothing is decided later.

    Args:
        cluster: its name.
        provider: as it was named.
        provider_type: "local", "openstack" or "baremetal".
        provider_settings: as in `providers.yaml`.
        why: why this provider.
        profile: with all options applied.
        network: the nodes' network as CIDR.
        nodes: what will be booted, master first.
        plugins: in the order in which they are installed.
        checks: the names of all checks, the built-in ones first.
        needs_internet: whether nodes must have a way out.
        notes: what the user should know before he says yes.
        trust_on_first_use: whether a node is believed for whose host key nobody vouches.
        profile_why: why the profile is `default` although nobody asked for that; empty when somebody did.
        warnings: what may be a mistake of the user's; the summary repeats it.
        cluster_id: the random id that the cluster gets.
        cloud: the project that it will be in; None where nodes are not a cloud's.

    """

    cluster: str
    provider: str
    provider_type: str
    provider_settings: dict[str, object]
    why: str
    profile: Profile
    network: str
    nodes: tuple[Node, ...]
    plugins: tuple[str, ...]
    checks: tuple[str, ...]
    needs_internet: bool
    notes: tuple[str, ...]
    trust_on_first_use: bool = False
    profile_why: str = ""
    warnings: tuple[str, ...] = ()
    cluster_id: str = ""
    cloud: CloudProject | None = None

    @property
    def headline(self) -> str:
        """The plan in one line: what, where, and why there."""
        why = f" ({self.profile_why})" if self.profile_why else ""
        return (
            f"cluster {self.cluster}: 1 master and {counted(len(self.nodes) - 1, 'worker')} on provider {self.provider}"
            f" ({self.why}), profile {self.profile.name}{why}"
        )


BUILT_IN_CHECKS = ("names", "ssh between nodes", "bootstrap key dead", "scripts", "clocks")


def make_plan(home: Home, request: CreateRequest, environ: Mapping[str, str]) -> Plan:
    """Make the plan of a cluster; touches nothing.

    Raises:
        UsageError: the name is no cluster name, or a profile, plugin, provider or option is wrong.

    """
    check_name(request.name)
    profile = requested_profile(home, request)
    choice, provider = chosen_provider(
        home,
        profile,
        option=request.provider,
        environ=environ,
        openstack={"floating_ip": request.floating_ip, "os_cloud": request.os_cloud},
    )
    refuse_pointless_trust(choice.type, request.trust_on_first_use)
    if profile.template and choice.type != "openstack":
        what = f"{profile.source}: template: provider {choice.name} ({choice.why}) makes no stack to add it to"
        raise UsageError(what, hint="leave template out, or --provider openstack")
    chosen = resolve(profile.plugins, home)
    profile = replace(profile, plugins=tuple(_from_anywhere(use, chosen) for use in profile.plugins))
    profile = provider.complete(profile)
    indices = range(profile.worker.count + 1)
    placement = provider.place(request.name, indices, taken=())
    names = node_names(request.name, profile.worker.count)
    nodes = tuple(
        Node(
            names[i], "master" if i == 0 else "worker", i, "planned", placement.addresses[i],
            provider_id=placement.ids.get(i),
        )
        for i in indices
    )  # fmt: skip
    _refuse_misplaced(Cluster(request.name, "planned", choice.name, profile.name, "", nodes), profile, chosen)
    return Plan(
        cluster=request.name,
        provider=choice.name,
        provider_type=choice.type,
        provider_settings=dict(choice.settings),
        why=choice.why,
        profile=profile,
        network=placement.network,
        nodes=nodes,
        plugins=tuple(each.plugin.name for each in chosen),
        checks=(
            *(check for check in BUILT_IN_CHECKS if choice.type != "baremetal" or check != "bootstrap key dead"),
            *(check.name for each in chosen for check in each.plugin.checks),
            *(check.name for check in profile.checks),
        ),
        needs_internet=any(each.plugin.needs_internet for each in chosen),
        notes=(
            *_notes(profile, chosen, request.trust_on_first_use),
            *filter(None, map(unprotected_source, chosen)),
            *(f"ignored: {each}" for each in profile.ignored),
        ),
        trust_on_first_use=request.trust_on_first_use,
        profile_why=f"no profile is called {request.name}" if _fell_back(request, profile) else "",
        warnings=tuple(filter(None, [misnamed(home, request)])),
        cluster_id=new_cluster_id(),
        cloud=provider.cloud_project(),
    )


def _fell_back(request: CreateRequest, profile: Profile) -> bool:
    return request.profile is None and profile.name != request.name


def misnamed(home: Home, request: CreateRequest) -> str:
    """Return a warning when the cluster's name looks like that of a profile and is not; else nothing."""
    near = near_profile(home, request.name) if request.profile is None else ""
    if not near:
        return ""
    return f"no profile is called {request.name!r}: 'default' is used, which installs nothing; for {near}: -p {near}"


def requested_profile(home: Home, request: CreateRequest) -> Profile:
    """Return the profile of a cluster with what the command line says instead.

    Raises:
        UsageError: there is no such profile, or it or an option is wrong.

    """
    return with_overrides(
        profile_for(home, request.profile, cluster=request.name),
        provider=request.provider,
        workers=request.workers,
        image=request.image,
        flavor=request.flavor,
        settings=request.settings,
    )


def chosen_provider(
    home: Home,
    profile: Profile,
    *,
    option: str | None,
    environ: Mapping[str, str],
    openstack: Mapping[str, str | None],
) -> tuple[ProviderChoice, Provider]:
    """Return the provider for a profile, whose settings have the profile's machines if it lists any.

    Raises:
        UsageError: there is no such provider, or its settings are wrong.

    """
    wanted = profile.provider or ("baremetal" if profile.machines else None)
    choice = choose_provider(home, option=option, profile=wanted, environ=environ, openstack=openstack)
    if choice.type == "baremetal":
        choice = replace(choice, settings=for_profile(choice.settings, profile))
    return choice, provider_of(home, choice.type, choice.settings)


def _refuse_misplaced(cluster: Cluster, profile: Profile, chosen: Sequence[ChosenPlugin]) -> None:
    problems = misplaced(cluster, profile.checks, source=profile.source)
    for each in chosen:
        problems += misplaced(cluster, each.plugin.checks, source=f"plugin {each.plugin.name}")
    if problems:
        raise InvalidInput(problems)


def check_name(name: str) -> None:
    """Raise a UsageError when a cluster can't have this name."""
    if not CLUSTER_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for a cluster",
            hint="a lower-case letter, then up to 29 lower-case letters, digits and hyphens",
        )


def _from_anywhere(use: PluginUse, chosen: Sequence[ChosenPlugin]) -> PluginUse:
    """Return a plugin whose payload's local source is found from every folder, for nodes that are added later."""
    plugin = next(each.plugin for each in chosen if each.plugin.name == use.name)
    name = plugin.payload.source if plugin.payload else ""
    source = use.settings.get(name)
    if not source or "://" in str(source):
        return use
    return PluginUse(use.name, {**use.settings, name: str(Path(str(source)).expanduser().absolute())})


def _notes(profile: Profile, chosen: Sequence[ChosenPlugin], trust_on_first_use: bool) -> tuple[str, ...]:
    notes = []
    if profile.mesh == "all":
        notes.append(
            f"mesh: all: every node can log in to every node as {profile.user}, who may use sudo, so one bad node is"
            " root on all; mesh: master-to-workers or none in the profile limits that"
        )
    if open_to_all := [
        each.plugin.name for each in chosen if each.plugin.ports and not is_closed(each, profile.listen_to)
    ]:
        notes.append(
            f"listen_to: network: everybody who can reach the nodes can use {', '.join(open_to_all)}, and most"
            " services ask for no password; listen_to: cluster lets in the nodes and cm only"
        )
    if trust_on_first_use:
        notes.append("--trust-on-first-use: where nobody vouches for a host key, whoever answers first is believed")
    return tuple(notes)
