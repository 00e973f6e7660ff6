"""`cm cluster create`: from a profile to a verified cluster, or back to nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping

from cloudmesh_cluster.core.errors import InvalidInput, NameTaken
from cloudmesh_cluster.core.events import Emit, Event, now
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, RoleScript
from cloudmesh_cluster.nodes.keys import generate, login_comment, write_private
from cloudmesh_cluster.nodes.scripts import digest
from cloudmesh_cluster.operations.plan import CreateRequest, Plan, make_plan
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.bring_up import bring_up, make_ready
from cloudmesh_cluster.operations.steps.finish import Summary, finish
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.plugins.payload_sources import unprotected_source
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.plugins.secret_settings import NONE, Ask, Secrets, given_secrets, keep_secrets, kept_secrets
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.state.records import ClusterRecord, WrittenScript
from cloudmesh_cluster.state.store import State


async def create(
    home: Home, request: CreateRequest, environ: Mapping[str, str], emit: Emit, *, ask: Ask | None = None
) -> Summary:
    """Create a cluster and verify it; on failure undo it as the request says.

    Args:
        home: whose cluster.
        request: what is asked for.
        environ: the environment.
        emit: who listens.
        ask: asks for a secret of a plugin that the profile does not give; None where nobody can be asked.

    Raises:
        UsageError: something about the request is wrong; nothing was made.
        OperationFailed: it failed, and was rolled back or kept.
        LeftBehind: it failed, and the rollback did too.
        Interrupted: the user stopped it.

    """
    plan = make_plan(home, request, environ)
    secrets = given_secrets(resolve(plan.profile.plugins, home), environ, ask)
    emit(Event("plan", message=plan.headline))

    def refuse(state: State) -> None:
        _refuse_taken(state, request.name)
        preflight(home, plan, emit)

    async with session(
        home, request.name, "create", plan, emit=emit, on_failure=request.on_failure, timeout=request.timeout,
        refuse=refuse, recognizes=False,
    ) as current:  # fmt: skip
        for warning in plan.warnings:
            current.journal.warn(warning)
        return await carry_out(current, plan, secrets)


def rehearse(home: Home, plan: Plan, emit: Emit) -> None:
    """Refuse what `create` would refuse, without touching anything.

    Raises:
        UsageError: the name is taken, or something is missing; all problems at once.

    """
    if home.state_file.exists():
        with State(home) as state:
            _refuse_taken(state, plan.cluster)
    preflight(home, plan, emit)


def _refuse_taken(state: State, name: str) -> None:
    if name in state.cluster_names():
        hint = f"cm cluster show {name}, or choose another name"
        raise NameTaken(f"there is a cluster named {name!r} already", hint=hint)


def preflight(home: Home, plan: Plan, emit: Emit) -> None:
    """Refuse what can be refused before anything is made.

    Raises:
        InvalidInput: names all problems at once.

    """
    provider = provider_of(home, plan.provider_type, plan.provider_settings)
    problems, warnings = provider.preflight(
        plan.profile,
        needs_internet=plan.needs_internet,
        cluster=plan.cluster,
        new=plan.nodes,
        trust_on_first_use=plan.trust_on_first_use,
    )
    sources = filter(None, map(unprotected_source, resolve(plan.profile.plugins, home)))
    for warning in (*(f"ignored: {each}" for each in plan.profile.ignored), *sources, *warnings):
        emit(Event("warning", message=warning))
    if problems:
        raise InvalidInput(problems)


async def carry_out(current: Session, plan: Plan, secrets: Secrets = NONE) -> Summary:
    """Do what the plan says; also from the middle, when an earlier process left it unfinished and kept the secrets."""
    began = time.monotonic()
    with current.journal.step("prepare", undo={"kind": "cluster"}):
        _prepare(current, plan, secrets)
    payloads = await make_ready(current)
    # Nodes that this operation has booted before are taken as they are: provisioning is idempotent.
    await bring_up(current, current.cluster.nodes, payloads, undo={"kind": "all nodes"})
    return await finish(current, began)


def _prepare(current: Session, plan: Plan, secrets: Secrets) -> None:
    """Make the keys and write down what is to be."""
    state, home = current.state, current.home
    keep_secrets(home, plan.cluster, secrets)
    current.journal.hide(secrets.values())
    for chosen in resolve(plan.profile.plugins, home):
        kept_secrets(home, plan.cluster, chosen)
    if plan.cluster not in state.cluster_names():
        record = ClusterRecord(
            plan.profile,
            plan.provider_type,
            plan.provider_settings,
            plan.network,
            cluster_id=plan.cluster_id,
            cloud=plan.cloud,
        )
        cluster = Cluster(plan.cluster, "creating", plan.provider, plan.profile.name, now(), plan.nodes)
        scripts = [_remembered(script, current.journal.operation.id) for script in plan.profile.scripts]
        state.add_cluster(cluster, record, scripts)
    home.cluster(plan.cluster).mkdir(mode=0o700, exist_ok=True)
    if not home.login_key(plan.cluster).exists():
        write_private(home.login_key(plan.cluster), generate(login_comment(plan.cluster)).private)


def _remembered(script: RoleScript, operation: str) -> WrittenScript:
    return WrittenScript(
        0, script.role, script.name, digest(script.content), script.content, now(), "remembered", operation
    )
