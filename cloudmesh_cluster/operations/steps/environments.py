"""conda environments on nodes: their locks made, brought there, used, and brought to nodes that come later."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh_cluster.conda import archives, bundled, solver
from cloudmesh_cluster.conda.archives import Archive
from cloudmesh_cluster.conda.channels import Channel, channels_of
from cloudmesh_cluster.conda.environments import CondaEnvironment, Environments
from cloudmesh_cluster.conda.settings import PLUGIN, CondaSettings, read_settings
from cloudmesh_cluster.conda.solver import System
from cloudmesh_cluster.core.errors import NotFound, UsageError
from cloudmesh_cluster.core.events import now
from cloudmesh_cluster.core.files import make_private, write_atomically
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.core.targets import select
from cloudmesh_cluster.core.tasks import together
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps import environment_head as head
from cloudmesh_cluster.operations.steps.wiring import raise_failed
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.ssh.connections import Connections

if TYPE_CHECKING:
    from rattler import RepoDataRecord

TIMEOUT = 1800.0
PUSHES = 8
"""How many nodes get an archive at the same time."""


def settings_of(session: Session) -> CondaSettings:
    """Return what the cluster's profile says about environments."""
    return settings_from(session.plugins)


def settings_from(plugins: Sequence[ChosenPlugin]) -> CondaSettings:
    """Return what the plugin `conda` is told, the defaults where it is not among some plugins."""
    for chosen in plugins:
        if chosen.plugin.name == PLUGIN:
            return read_settings(chosen.settings)
    return CondaSettings()


class Tokens:
    """The whole addresses of channels whose tokens were typed, in a file that only its owner can read."""

    def __init__(self, home: Home, cluster: str) -> None:
        self._file = home.cluster(cluster) / "conda" / "tokens"

    def read(self) -> dict[str, str]:
        """Return the addresses by what may be seen of them."""
        addresses: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        return addresses

    def keep(self, channels: Sequence[Channel]) -> None:
        """Keep the addresses that can't be told from what may be seen of them."""
        known = self.read()
        secret = {c.shown: c.address for c in channels if c.shown != c.address and "${" not in c.shown}
        if not secret.items() <= known.items():
            make_private(self._file.parent)
            write_atomically(self._file, json.dumps(known | secret).encode())


def channels(session: Session, settings: CondaSettings, words: Sequence[str]) -> list[Channel]:
    """Return the channels that words mean, with the tokens that were typed once."""
    tokens, alias = Tokens(session.home, session.name).read(), settings.channel_alias
    configured = channels_of(settings.channel_words(), alias=alias, environ=os.environ, tokens=tokens)
    tokens |= {each.shown: each.address for each in configured}
    return channels_of(words, alias=alias, environ=os.environ, tokens=tokens)


async def ask_systems(session: Session, connections: Connections, nodes: Sequence[Node]) -> System:
    """Return the one system that a lock for all these nodes must fit.

    Raises:
        RemoteFailed: a node does not answer.
        UsageError: the nodes are of different kinds.

    """
    results = await connections.run_all(nodes, solver.SYSTEM, timeout=60)
    raise_failed("look at the system", results)
    return solver.system_of(results)


async def make(
    session: Session,
    connections: Connections,
    environment: CondaEnvironment,
    found: Sequence[Channel],
    *,
    locked: Sequence[RepoDataRecord] = (),
) -> CondaEnvironment:
    """Solve an environment, write its lock, and build it.

    Args:
        session: the running operation.
        connections: to the nodes.
        environment: what is asked for, and for which system.
        found: its channels.
        locked: rattler's records of the packages to keep where possible.

    Raises:
        UsageError: it can't be solved or built.

    """
    settings, store = settings_of(session), Environments(session.home, session.name)
    platform = environment.platform
    system = System(platform, *_versions(environment))
    with session.journal.progress(f"solve {environment.name}"):
        records = await solver.solve(
            environment.specs, found, system, home=session.home, ssl_verify=settings.ssl_verify,
            locked=locked,
        )  # fmt: skip
    packages = tuple(solver.package_of(record, found) for record in records)
    environment = replace(environment, packages=packages, made_at=now()).with_digest()
    solver.write_lock(store.lock_file(environment), records, found, platform=platform)
    if environment.fetch == "head":
        return (await head.build(session, connections, environment, found, ssl_verify=settings.ssl_verify))[0]
    return await built(session, environment, found)


def _versions(environment: CondaEnvironment) -> tuple[str, str]:
    versions = dict(text.split("=")[:2] for text in environment.virtual_packages)
    return versions.get("__linux", "0"), versions.get("__glibc", "0")


async def built(session: Session, environment: CondaEnvironment, found: Sequence[Channel]) -> CondaEnvironment:
    """Have the archive of a locked environment at hand, and return the environment with its digest."""
    store, settings = Environments(session.home, session.name), settings_of(session)
    with session.journal.progress(f"build {environment.name}"):
        records = solver.read_lock(store.lock_file(environment), found)
        client = solver.client_for(settings.ssl_verify)
        archive = await asyncio.to_thread(archives.build, environment, records, found, session.home, client)
    write_atomically(store.manifest_file(environment), archive.manifest.encode())
    return replace(environment, archive_sha256=archive.sha256, link_scripts=archive.link_scripts)


async def archive_of(session: Session, environment: CondaEnvironment) -> Path:
    """Return the archive of an environment of the cluster; from its lock, if the cache has lost it.

    Raises:
        UsageError: it is lost, or can't be made again as it was.

    """
    store = Environments(session.home, session.name)
    if environment.pushed:
        return store.archive_file(environment)
    archive: Archive | None = await asyncio.to_thread(archives.cached, environment, session.home)
    if archive is None:
        found = channels(session, settings_of(session), environment.channels)
        await built(session, environment, found)
        archive = archives.cached(environment, session.home)
    if archive is None:
        what = f"environment {environment.name} can't be kept in {session.home.cache}"
        raise UsageError(what, hint="make room there")
    return archive.file


def node_line(verb: str, environment: CondaEnvironment, *words: str) -> str:
    """Return the shell line, for root, that does something with an environment on a node."""
    script = resource("scripts", "boot", "conda-environment").read_text()
    named = [verb, environment.install_prefix, environment.name, environment.digest]
    return shlex.join(["bash", "-c", script, "conda-environment", *named, *words])


async def place(
    session: Session,
    connections: Connections,
    environment: CondaEnvironment,
    nodes: Sequence[Node],
    *,
    before: CondaEnvironment | None = None,
) -> None:
    """Bring an environment to nodes; only when all have it whole, all begin to use it, each in one instant.

    Args:
        session: the running operation.
        connections: to the nodes.
        environment: the environment, built.
        nodes: where to.
        before: what the nodes used until now; it stays beside the new one.

    Raises:
        RemoteFailed: a node could not take it; then none uses it.

    """
    answers = await connections.run_all(nodes, node_line("has", environment), sudo=True, timeout=TIMEOUT)
    if lacking := [node for node, answer in zip(nodes, answers, strict=True) if not answer.ok]:
        await push(session, connections, environment, lacking)
    await use(session, connections, environment, nodes, before=before)


async def push(
    session: Session, connections: Connections, environment: CondaEnvironment, nodes: Sequence[Node]
) -> None:
    """Bring an environment to nodes, in the place of what they have of it; what packages have to say is told once.

    Raises:
        RemoteFailed: a node could not take it.

    """
    archive, pushes = await _archive_for(session, connections, environment), asyncio.Semaphore(PUSHES)
    step, line = f"push environment {environment.name}", node_line("unpack", environment, *environment.link_scripts)

    said: dict[str, None] = {}

    async def bring(node: Node) -> None:
        async with pushes:
            with session.journal.progress(step, node=node.name):
                if isinstance(archive, str):
                    result = await head.give(session, connections, node, archive, line)
                else:
                    result = await connections.run(node, line, sudo=True, stdin=archive, timeout=TIMEOUT)
                raise_failed(step, [result])
                said.update(dict.fromkeys(result.stdout.splitlines()))

    await together(bring(node) for node in nodes)
    for message in said:
        session.journal.info(message)


async def _archive_for(session: Session, connections: Connections, environment: CondaEnvironment) -> Path | str:
    """Return the archive here, or, as text, its path on the head, if that has fetched it."""
    if environment.fetch == "client":
        return await archive_of(session, environment)
    settings = settings_of(session)
    found = channels(session, settings, environment.channels)
    return (await head.build(session, connections, environment, found, ssl_verify=settings.ssl_verify))[1]


async def use(
    session: Session,
    connections: Connections,
    environment: CondaEnvironment,
    nodes: Sequence[Node],
    *,
    before: CondaEnvironment | None = None,
) -> None:
    """Let nodes use an environment that they have."""
    step = f"use environment {environment.name}"
    with session.journal.progress(step):
        line = node_line("use", environment, *([before.digest] if before else []))
        raise_failed(step, await connections.run_all(nodes, line, sudo=True, timeout=TIMEOUT))


async def remove(
    session: Session, connections: Connections, environment: CondaEnvironment, nodes: Sequence[Node]
) -> None:
    """Remove an environment from nodes, with all its locks."""
    step = f"remove environment {environment.name}"
    with session.journal.progress(step):
        line = node_line("remove", environment)
        raise_failed(step, await connections.run_all(nodes, line, sudo=True, timeout=TIMEOUT))


def nodes_of(environment: CondaEnvironment, nodes: Sequence[Node]) -> list[Node]:
    """Return those of a cluster's nodes that an environment is for; a target whose nodes are gone means none."""
    try:
        return list(select(nodes, environment.target))
    except NotFound:
        return []


async def check_wanted(session: Session) -> None:
    """Refuse what no system could have, before any node is made.

    Raises:
        UsageError: an environment of the profile can't be solved.

    """
    settings = settings_of(session)
    for name in _missing(session, settings):
        if bundled.find(session.home, name, settings):
            continue
        solver.require_rattler()
        with session.journal.progress(f"solve {name}"):
            found = channels(session, settings, settings.channel_words())
            specs = settings.environments[name]
            await solver.solve(specs, found, solver.ANY_SYSTEM, home=session.home, ssl_verify=settings.ssl_verify)


def _missing(session: Session, settings: CondaSettings) -> list[str]:
    """Return the environments to make: later on, what is missing was removed by the user."""
    if session.journal.operation.kind not in ("create", "install"):
        return []
    store = Environments(session.home, session.name)
    return [name for name in settings.environments if store.find(name) is None]


async def bring_environments(session: Session, connections: Connections, new: Sequence[Node]) -> None:
    """Bring to new nodes the environments that the cluster has; make those first that its profile asks for.

    Raises:
        CmError: one can't be made, or a node can't take it.

    """
    settings, store = settings_of(session), Environments(session.home, session.name)
    if missing := _missing(session, settings):
        system = await ask_systems(session, connections, session.cluster.nodes)
        found = channels(session, settings, settings.channel_words())
        for name in missing:
            ready = bundled.find(session.home, name, settings)
            if ready is not None and system.runs(ready.virtual_packages):
                lock = bundled.lock_file(session.home, bundled.key_of(name, settings))
                store.write(_taken(session, ready, lock))
                continue
            asked = CondaEnvironment(
                name, settings.environments[name], tuple(each.shown for each in found), "all",
                settings.install_prefix, system.platform, system.virtual_packages, (), "", fetch=settings.fetch,
            )  # fmt: skip
            store.write(await make(session, connections, asked, found))
    there = {node.name for node in new}
    for environment in store.all():
        takers = [node for node in nodes_of(environment, session.cluster.nodes) if node.name in there]
        if takers:
            await place(session, connections, environment, takers)


def _taken(session: Session, environment: CondaEnvironment, lock: Path) -> CondaEnvironment:
    """Make an environment of a bundle one of the cluster."""
    store = Environments(session.home, session.name)
    write_atomically(store.lock_file(environment), lock.read_bytes())
    archive = archives.cached(environment, session.home)
    write_atomically(store.manifest_file(environment), (archive.manifest if archive else "").encode())
    session.journal.info(f"environment {environment.name} is taken from a bundle")
    return environment


async def remove_environments(session: Session, connections: Connections) -> None:
    """Remove all environments of a cluster."""
    store = Environments(session.home, session.name)
    running = session.running(session.cluster.nodes)
    for environment in store.all():
        await remove(session, connections, environment, running)
        store.remove(environment.name)
