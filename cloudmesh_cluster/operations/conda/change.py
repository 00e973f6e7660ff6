"""`cm conda create`, `install`, `update`, `remove`, `push`, `check --fix`: one lock, and all nodes or none use it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from cloudmesh_cluster.conda import archives, solver
from cloudmesh_cluster.conda.channels import channels_of
from cloudmesh_cluster.conda.environments import CondaEnvironment, Environments, Fetch, Package
from cloudmesh_cluster.conda.settings import ENVIRONMENT_NAME, ROOT, CondaSettings
from cloudmesh_cluster.core.codec import encode
from cloudmesh_cluster.core.errors import NameTaken, NotFound, UsageError
from cloudmesh_cluster.core.events import Emit, now
from cloudmesh_cluster.core.files import write_atomically
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.redaction import in_channels as redacted
from cloudmesh_cluster.core.targets import select
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps import environments as steps
from cloudmesh_cluster.operations.steps.preconditions import refuse_dead, require_cluster
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.ssh.connections import Connections
from cloudmesh_cluster.state.store import State

Action = Literal["create", "install", "update", "remove", "push", "fix"]
KINDS = tuple(f"conda-{action}" for action in get_args(Action))
_KEPT = ("name", "version", "build", "channel", "url", "sha256")
_SPEC_NAME = re.compile(r"(?:.*::)?([A-Za-z0-9_.-]+)")


@dataclass(frozen=True)
class EnvironmentRequest:
    """What is to become of an environment.

    Args:
        action: what to do.
        environment: its name.
        specs: packages, as conda's match specs; for `remove` their names, none for the whole environment.
        channels: where to look first, without secrets.
        target: the nodes that a new environment is for; None for all. For `fix` those that have it damaged.
        prefix: the folder on this machine that is pushed whole.
        fetch: who fetches packages; None as before, or as the profile says.

    """

    action: Action
    environment: str = ROOT
    specs: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    target: str | None = None
    prefix: str = ""
    fetch: Fetch | None = None


@dataclass(frozen=True)
class EnvironmentResult:
    """What came of it: the environment (None when it was removed), before and after, and its nodes."""

    before: CondaEnvironment | None
    after: CondaEnvironment | None
    nodes: tuple[Node, ...]


async def change(home: Home, name: str, request: EnvironmentRequest, emit: Emit) -> EnvironmentResult:
    """Change an environment on all its nodes, or on none.

    Args:
        home: whose cluster.
        name: the cluster's.
        request: what to do; its channels may hold tokens here, which go no further than a private file.
        emit: told what happens.

    Raises:
        UsageError: it makes no sense, or nothing fulfils it; the environment is as it was.
        OperationFailed: a node could not follow; the environment is as it was.

    """
    if not ENVIRONMENT_NAME.fullmatch(request.environment):
        raise UsageError(f"{request.environment!r} is no name for an environment", hint="letters, digits, _ . and -")
    solver.require_rattler()

    def refuse(state: State) -> None:
        _finish_killed(state, name, request)
        require_cluster(name, states=("ready",))(state)
        _refuse(Environments(home, name), request)
        nodes = state.cluster(name).nodes
        refuse_dead(home, state, name, select(nodes, _target(Environments(home, name), request)))

    with State(home) as state:
        request = _without_tokens(home, state, name, request)
    async with session(
        home, name, f"conda-{request.action}", request, emit=emit, refuse=refuse, on_failure="rollback"
    ) as current:
        return await carry_out(current, request)


async def fix(home: Home, name: str, rows: Sequence[Mapping[str, Any]], emit: Emit) -> None:
    """Bring environments once more, whole, to the nodes on which a check has found them damaged.

    Args:
        home: whose cluster.
        name: the cluster's.
        rows: what `environment_looks.check` said.
        emit: told what happens.

    Raises:
        OperationFailed: a node could not take it; `check` names it.

    """
    damaged: dict[str, list[str]] = {}
    for row in rows:
        if not row["ok"]:
            damaged.setdefault(row["environment"], []).append(row["nodes"])
    for environment, nodes in damaged.items():
        await change(home, name, EnvironmentRequest("fix", environment, target=",".join(dict.fromkeys(nodes))), emit)


def _finish_killed(state: State, name: str, request: EnvironmentRequest) -> None:
    """Let this operation take the place of one on the same environment that was killed: it does all of it again."""
    killed = state.unfinished(name)
    kinds = ("conda-fix",) if request.action == "fix" else KINDS
    if killed is not None and killed.kind in kinds and killed.request["environment"] == request.environment:
        state.end_operation(killed.id, state="superseded", error="killed; done again by the next one")


def _refuse(store: Environments, request: EnvironmentRequest) -> None:
    """Raise when the request makes no sense for what there is."""
    name, found = request.environment, store.find(request.environment)
    if request.action == "create" and found:
        hint = f"cm conda install CLUSTER -n {name} SPEC..., or cm conda remove CLUSTER -n {name} --all"
        raise NameTaken(f"there is an environment {name!r} already", hint=hint)
    if request.action in ("push", "create") or (request.action == "install" and name == ROOT and found is None):
        return
    found = store.one(name)
    if request.action == "fix":
        return
    if found.pushed and not (request.action == "remove" and not request.specs):
        raise UsageError(f"environment {name!r} was pushed whole and has no specs", hint="push it again, or remove it")
    if request.target is not None and request.target != found.target:
        raise UsageError(
            f"environment {name!r} is on {found.target}: all its nodes have one lock",
            hint="leave -t out, or make another environment",
        )
    if request.action in ("update", "remove"):
        _refuse_unknown(found, request)


def _refuse_unknown(found: CondaEnvironment, request: EnvironmentRequest) -> None:
    asked = {_name_of(spec) for spec in found.specs}
    there = {package.name for package in found.packages}
    for spec in request.specs:
        name = _name_of(spec)
        if name not in there | asked:
            raise NotFound("package in the environment", name, sorted(there))
        if request.action == "remove" and name not in asked:
            what = f"{name} was not asked for: something else needs it"
            raise UsageError(what, hint=f"asked for: {', '.join(sorted(asked))}")


def _name_of(spec: str) -> str:
    match = _SPEC_NAME.match(spec.strip())
    if match is None:
        raise UsageError(f"{spec!r} is no package", hint="for example python=3.11 or 'numpy>=1.26'")
    return match[1].lower()


def _target(store: Environments, request: EnvironmentRequest) -> str:
    found = store.find(request.environment)
    if found and request.action not in ("push", "fix"):
        return found.target
    return request.target or (found.target if found else "all")


def _without_tokens(home: Home, state: State, name: str, request: EnvironmentRequest) -> EnvironmentRequest:
    """Return the request without secrets, which are kept in a file of their own."""
    settings, tokens = steps.settings_from(resolve(state.record(name).profile.plugins, home)), steps.Tokens(home, name)
    found = channels_of(request.channels, alias=settings.channel_alias, environ=os.environ, tokens=tokens.read())
    tokens.keep(found)
    return replace(request, channels=tuple(channel.shown for channel in found))


async def carry_out(current: Session, request: EnvironmentRequest) -> EnvironmentResult:
    """Do what the request says; also again, when an earlier process was killed in the middle."""
    store = Environments(current.home, current.name)
    before = store.find(request.environment)
    target = _target(store, request)
    nodes = select(current.cluster.nodes, target)
    if request.action == "fix":
        return await _fix(current, store.one(request.environment), nodes)
    undo = {"kind": "environment", "environment": request.environment, "before": encode(before) if before else None}
    with current.journal.step(f"environment {request.environment}", undo=undo):
        async with current.connections() as connections:
            if request.action == "remove" and not request.specs:
                return await _remove(current, connections, before, nodes)
            after = await _make(current, connections, request, before, nodes)
            await steps.place(current, connections, after, nodes, before=before)
            had = steps.nodes_of(before, current.cluster.nodes) if before else []
            if before and (gone := [node for node in had if node not in nodes]):
                await steps.remove(current, connections, before, gone)
            store.write(after)
    return EnvironmentResult(before, after, nodes)


async def _fix(current: Session, environment: CondaEnvironment, nodes: Sequence[Node]) -> EnvironmentResult:
    # No undo: what was damaged is no state to go back to.
    with current.journal.step(f"fix environment {environment.name}"):
        async with current.connections() as connections:
            await steps.push(current, connections, environment, nodes)
            await steps.use(current, connections, environment, nodes)
    return EnvironmentResult(environment, environment, tuple(nodes))


async def _remove(
    current: Session, connections: Connections, before: CondaEnvironment | None, nodes: Sequence[Node]
) -> EnvironmentResult:
    if before is not None:
        await steps.remove(current, connections, before, nodes)
        Environments(current.home, current.name).remove(before.name)
    return EnvironmentResult(before, None, tuple(nodes))


async def _make(
    current: Session,
    connections: Connections,
    request: EnvironmentRequest,
    before: CondaEnvironment | None,
    nodes: Sequence[Node],
) -> CondaEnvironment:
    settings, store = steps.settings_of(current), Environments(current.home, current.name)
    system = await steps.ask_systems(current, connections, nodes)
    target = _target(store, request)
    if request.prefix:
        return await asyncio.to_thread(_packed, current, settings, request, system.platform, target)
    old = before if request.action in ("install", "update", "remove") else None
    words = (*request.channels, *old.channels) if old else settings.channel_words(request.channels)
    found = steps.channels(current, settings, tuple(dict.fromkeys(words)))
    asked = CondaEnvironment(
        request.environment, _specs(request, old), tuple(each.shown for each in found), target,
        old.install_prefix if old else settings.install_prefix, system.platform, system.virtual_packages, (), "",
        fetch=request.fetch or (old.fetch if old else settings.fetch),
    )  # fmt: skip
    locked = solver.read_lock(store.lock_file(old), found) if old and store.lock_file(old).exists() else []
    kept = [] if request.action == "update" and not request.specs else _unnamed(locked, request)
    return await steps.make(current, connections, asked, found, locked=kept)


def _unnamed(locked: Sequence[Any], request: EnvironmentRequest) -> list[Any]:
    """Return the locked packages that the request doesn't name: they stay as they are, if they can."""
    named = {_name_of(spec) for spec in request.specs}
    return [record for record in locked if record.name.normalized not in named]


def _specs(request: EnvironmentRequest, before: CondaEnvironment | None) -> tuple[str, ...]:
    """Return all that an environment is to have: a new spec takes the place of the old one of the same package."""
    old = {_name_of(spec): spec for spec in before.specs} if before else {}
    if request.action == "remove":
        gone = {_name_of(spec) for spec in request.specs}
        return tuple(spec for name, spec in old.items() if name not in gone)
    if request.action == "update":
        return tuple(old.values())
    return tuple((old | {_name_of(spec): spec for spec in request.specs}).values())


def _packed(
    current: Session, settings: CondaSettings, request: EnvironmentRequest, platform: str, target: str
) -> CondaEnvironment:
    """Pack a prefix of this machine; what is in it is its lock."""
    store, prefix = Environments(current.home, current.name), Path(request.prefix)
    packages = tuple(
        Package(*(redacted(str(about.get(key) or "")) for key in _KEPT))
        for about in archives.packages_of_prefix(prefix)
    )  # fmt: skip
    environment = CondaEnvironment(
        request.environment, (), (), target, settings.install_prefix, platform, (), packages,
        archives.digest_of_prefix(prefix), pushed=True, made_at=now(),
    )  # fmt: skip
    archive = archives.pack_prefix(prefix, environment, store.archive_file(environment))
    write_atomically(store.manifest_file(environment), archive.manifest.encode())
    return replace(environment, archive_sha256=archive.sha256)
