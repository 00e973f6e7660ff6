"""`cm cluster import`: a cluster that another machine has made becomes known here, from its stack and its login key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cloudmesh_cluster.config.providers_file import ProviderChoice, choose_provider
from cloudmesh_cluster.core.errors import InvalidInput, NameTaken, NotFound, UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CloudProject, Cluster
from cloudmesh_cluster.core.tasks import together
from cloudmesh_cluster.nodes.keys import blob, public_of, read_private, write_private
from cloudmesh_cluster.operations.plan import check_name
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.bring_up import reach
from cloudmesh_cluster.operations.steps.checks import prove
from cloudmesh_cluster.operations.steps.description import Description, read_description
from cloudmesh_cluster.operations.steps.environments import settings_from
from cloudmesh_cluster.operations.steps.foreign import problems_of_nodes
from cloudmesh_cluster.operations.steps.recovery import recover
from cloudmesh_cluster.operations.steps.wiring import wire_all
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.providers.openstack.found import FoundCluster
from cloudmesh_cluster.providers.openstack.servers import waking_word
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.store import State

CONSOLE_DEADLINE = 60.0


@dataclass(frozen=True)
class ImportRequest:
    """What is imported: the cluster as its stack says, its provider and project, and the file of its login key."""

    found: FoundCluster
    provider: str
    provider_type: str
    provider_settings: dict[str, object]
    key: str
    cloud: CloudProject | None = None


async def import_cluster(
    home: Home,
    name: str,
    emit: Emit,
    *,
    key: Path | None,
    environ: Mapping[str, str],
    provider: str | None = None,
    os_cloud: str | None = None,
    timeout: float | None = None,
) -> Cluster:
    """Make a cluster known here that its cloud has already; the nodes stay as they are.

    Args:
        home: where it becomes known.
        name: the cluster's.
        emit: who listens.
        key: its login key; None when it lies in the cluster's folder already.
        environ: the environment, for the choice of the provider.
        provider: name or type.
        os_cloud: the entry of `clouds.yaml`.
        timeout: seconds for the whole operation.

    Raises:
        UsageError: there is no such cluster, the key is not its key or not private, or it is known already.
        OperationFailed: a node did not answer; nothing is known of the cluster then.

    """
    check_name(name)
    file = key or home.login_key(name)
    if key is None and not file.exists():
        hint = f"--key FILE: clusters/{name}/id_ed25519 in the CM_HOME of the machine that made it"
        raise UsageError(f"the login key of cluster {name!r} is not here", hint=hint)
    public = public_of(read_private(file))
    choice = choose_provider(home, option=provider, profile=None, environ=environ, openstack={"os_cloud": os_cloud})
    found, described, cloud = await asyncio.to_thread(_found, home, name, choice)
    if blob(public) != blob(found.login_public_key):
        raise UsageError(f"{file} is not the login key of cluster {name!r}", hint="--key with its id_ed25519")
    request = ImportRequest(
        found, choice.name, choice.type, {**described.provider_settings, **_own(choice)}, str(file.absolute()), cloud
    )

    def refuse(state: State) -> None:
        if name in state.cluster_names():
            raise NameTaken(f"cluster {name!r} is known here already", hint=f"cm cluster show {name}")

    async with session(
        home, name, "import", request, emit=emit, on_failure="rollback", outcome="forgotten", refuse=refuse,
        timeout=timeout, recognizes=False,
    ) as current:  # fmt: skip
        return await carry_out(current, request)


def _found(home: Home, name: str, choice: ProviderChoice) -> tuple[FoundCluster, Description, CloudProject | None]:
    """Return the cluster as its stack tells, if it is whole, and the project that has it.

    Raises:
        UsageError: it is not, or nobody but `cm` could have made it.

    """
    from cloudmesh_cluster.providers.openstack.provider import OpenStackProvider

    provider = provider_of(home, choice.type, choice.settings)
    if not isinstance(provider, OpenStackProvider):
        what = f"provider {choice.name!r} ({choice.why}): only a cloud can tell what it has"
        raise UsageError(what, hint="--provider openstack --os-cloud NAME")
    found = provider.find(name)
    if found is None:
        known = [each.name for each in provider.list_clusters()]
        raise NotFound("cluster", name, known, hint="" if known else "the cloud has none: cm cluster list --remote")
    if not found.stack_status.endswith("_COMPLETE") or found.stack_status.startswith("SUSPEND_"):
        word = "resume" if found.stack_status.startswith("SUSPEND_") else "show"
        hint = f"openstack stack {word} cm-{name}"
        raise UsageError(f"the stack of cluster {name!r} is {found.stack_status}, not complete", hint=hint)
    described = _described(home, found)
    now_there = provider.states_of(found)
    if away := [node.name for node in found.nodes if now_there.get(node.name) != "running"]:
        hint = f"openstack server {waking_word(now_there.get(away[0], ''))} {away[0]}"
        raise UsageError(f"{', '.join(away)} must run to be imported", hint=hint)
    return found, described, provider.cloud_project()


def _described(home: Home, found: FoundCluster) -> Description:
    """Return what the stack says of the cluster, when all of it makes sense.

    Raises:
        UsageError: it does not.

    """
    stack = f"cm-{found.name}"
    described = read_description(found.description, stack=stack, home=home)
    if problems := problems_of_nodes(found.name, described.network, found.nodes, stack=stack):
        raise InvalidInput(problems, hint=f"openstack stack show {stack}")
    settings_from(resolve(described.profile.plugins, home))
    return described


def _own(choice: ProviderChoice) -> dict[str, object]:
    """Return the settings that say which cloud it is here; all others are the cluster's own."""
    return {name: value for name, value in choice.settings.items() if name == "os_cloud"}


async def carry_out(current: Session, request: ImportRequest) -> Cluster:
    """Write down what the stack tells, pin the nodes' host keys, and ask them for the rest; also again."""
    found = request.found
    described = _described(current.home, found)
    for setting in described.left_out:
        current.journal.warn(f"the setting {setting} means something on the other machine only, and is left out")
    with current.journal.step("prepare", undo={"kind": "imported"}):
        _prepare(current, request, described)
    async with current.connections() as connections:
        with current.journal.step("reach"):
            gateway_is_open = asyncio.Event()
            await together(
                reach(current, connections, node, gateway_is_open, keys_deadline=CONSOLE_DEADLINE)
                for node in found.nodes
            )
        with current.journal.step("recover"):
            await recover(current, connections, described)
        with current.journal.step("wire"):
            await wire_all(current, connections)
        current.set_node_states(current.cluster.nodes, "running")
        await prove(current, connections)
    return current.cluster


def _prepare(current: Session, request: ImportRequest, described: Description) -> None:
    state, home, found = current.state, current.home, request.found
    if current.name not in state.cluster_names():
        profile = replace(described.profile, source=f"stack cm-{found.name}")
        record = ClusterRecord(
            profile,
            request.provider_type,
            request.provider_settings,
            described.network,
            described.bootstrap_keys,
            cluster_id=found.cluster_id,
            cloud=request.cloud,
        )
        nodes = tuple(replace(node, state="booting") for node in found.nodes)
        state.add_cluster(
            Cluster(found.name, "importing", request.provider, profile.name, found.created_at, nodes), record
        )
    home.cluster(current.name).mkdir(mode=0o700, exist_ok=True)
    if not home.login_key(current.name).exists():
        write_private(home.login_key(current.name), read_private(Path(request.key)))
