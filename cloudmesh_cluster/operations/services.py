"""Plugins of a running cluster: install, uninstall, start, stop, restart, status; and the nodes themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from cloudmesh_cluster.conda.settings import PLUGIN as CONDA
from cloudmesh_cluster.core.errors import NotFound, UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node, PluginUse
from cloudmesh_cluster.core.tasks import together
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps import plugins as plugin_steps
from cloudmesh_cluster.operations.steps.environments import bring_environments
from cloudmesh_cluster.operations.steps.finish import Summary, finish
from cloudmesh_cluster.operations.steps.preconditions import (
    refuse_dead,
    refuse_obstacles,
    refuse_stopped,
    require_cluster,
)
from cloudmesh_cluster.operations.steps.removal import chosen_of, remove_plugins
from cloudmesh_cluster.operations.steps.wiring import wire_all
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.plugins.secret_settings import NONE, Ask, Secrets, given_secrets, keep_secrets
from cloudmesh_cluster.ssh.connections import Connections
from cloudmesh_cluster.state.store import State

T = TypeVar("T")
BOOT_DEADLINE = 120.0
"""Seconds in which a node that was started must answer."""


@dataclass(frozen=True)
class PluginsRequest:
    """The plugins that are meant; none means the whole cluster."""

    plugins: tuple[str, ...] = ()


async def install(home: Home, name: str, plugins: Sequence[str], emit: Emit, *, ask: Ask | None = None) -> Summary:
    """Install plugins on a cluster and verify it.

    Args:
        home: whose cluster.
        name: the cluster's.
        plugins: their names.
        emit: who listens.
        ask: asks for a secret of a plugin; None where nobody can be asked.

    Raises:
        UsageError: a plugin does not exist, or is there already.

    """
    with State(home) as state:
        request = PluginsRequest(_with_required(home, state, name, plugins))
    wanted = resolve([PluginUse(plugin) for plugin in request.plugins], home)
    secrets = given_secrets([each for each in wanted if each.plugin.name in request.plugins], {}, ask)

    def refuse(state: State) -> None:
        require_cluster(name, states=("ready",))(state)
        present = {chosen.plugin.name for chosen in resolve(state.record(name).profile.plugins, home)}
        if again := present & set(plugins):
            raise UsageError(f"{', '.join(sorted(again))}: installed already", hint=f"cm cluster status {name}")
        refuse_dead(home, state, name, state.cluster(name).nodes)

    async with session(home, name, "install", request, emit=emit, refuse=refuse, on_failure="rollback") as current:
        return await carry_out_install(current, request, secrets)


def _with_required(home: Home, state: State, name: str, plugins: Sequence[str]) -> tuple[str, ...]:
    """Return plugins with those that they require and the cluster has not, these first."""
    uses = state.record(name).profile.plugins
    present = {chosen.plugin.name for chosen in resolve(uses, home)}
    wanted = resolve([*uses, *(PluginUse(plugin) for plugin in plugins)], home)
    return tuple(chosen.plugin.name for chosen in wanted if chosen.plugin.name not in present)


async def carry_out_install(current: Session, request: PluginsRequest, secrets: Secrets = NONE) -> Summary:
    """Install the plugins; also from the middle."""
    began = time.monotonic()
    record = current.record
    present = {use.name for use in record.profile.plugins}
    added = tuple(PluginUse(name) for name in request.plugins if name not in present)
    with current.journal.step("install", undo={"kind": "plugins", "plugins": list(request.plugins)}):
        keep_secrets(current.home, current.name, secrets)
        current.journal.hide(secrets.values())
        plugins = (*record.profile.plugins, *added)
        current.state.put_record(current.name, replace(record, profile=replace(record.profile, plugins=plugins)))
        payloads = await plugin_steps.fetch_payloads(current)
        async with current.connections() as connections:
            await wire_all(current, connections)
            for chosen in chosen_of(current, request.plugins):
                nodes = current.cluster.nodes
                await together(
                    plugin_steps.prepare_node(current, connections, node, chosen, payloads) for node in nodes
                )
                if chosen.plugin.name == CONDA:
                    await bring_environments(current, connections, nodes)
                await plugin_steps.install_role(current, connections, nodes, chosen)
                await plugin_steps.start(current, connections, nodes, chosen)
    return await finish(current, began)


async def uninstall(home: Home, name: str, plugins: Sequence[str], emit: Emit) -> Summary:
    """Stop plugins and remove what they installed.

    Raises:
        NotFound: a plugin is not on the cluster.

    """
    request = PluginsRequest(tuple(plugins))

    def refuse(state: State) -> None:
        require_cluster(name, states=("ready",))(state)
        _require_plugins(state, name, request.plugins)
        _refuse_required(home, state, name, request.plugins)
        refuse_dead(home, state, name, state.cluster(name).nodes)

    async with session(home, name, "uninstall", request, emit=emit, refuse=refuse) as current:
        return await carry_out_uninstall(current, request)


def _refuse_required(home: Home, state: State, name: str, plugins: Sequence[str]) -> None:
    """Raise when another plugin of the cluster needs one of these."""
    for chosen in resolve(state.record(name).profile.plugins, home):
        if chosen.plugin.name not in plugins and (needed := set(chosen.plugin.requires) & set(plugins)):
            what = f"{chosen.plugin.name} requires {', '.join(sorted(needed))}"
            raise UsageError(what, hint=f"cm cluster uninstall {name} {chosen.plugin.name} first")


async def carry_out_uninstall(current: Session, request: PluginsRequest) -> Summary:
    """Remove the plugins; also from the middle."""
    began = time.monotonic()
    with current.journal.step("uninstall"):
        await remove_plugins(current, request.plugins)
    return await finish(current, began)


async def start(home: Home, name: str, plugins: Sequence[str], emit: Emit) -> Summary:
    """Start the nodes of a cluster with their disks, then its plugins; or only some plugins."""
    return await _run(home, name, "start", plugins, emit, carry_out_start)


async def stop(home: Home, name: str, plugins: Sequence[str], emit: Emit) -> None:
    """Stop the plugins of a cluster, then its nodes; or only some plugins."""
    await _run(home, name, "stop", plugins, emit, carry_out_stop)


async def restart(home: Home, name: str, plugins: Sequence[str], emit: Emit) -> Summary:
    """Stop and start the plugins of a cluster, or its nodes when it has none."""
    await stop(home, name, plugins, emit)
    return await start(home, name, plugins, emit)


async def _run(
    home: Home,
    name: str,
    kind: Literal["start", "stop"],
    plugins: Sequence[str],
    emit: Emit,
    carry_out: Callable[[Session, PluginsRequest], Awaitable[T]],
) -> T:
    request = PluginsRequest(tuple(plugins))

    def refuse(state: State) -> None:
        require_cluster(name, states=("ready", "stopped"))(state)
        _require_plugins(state, name, request.plugins)
        if request.plugins:
            refuse_dead(home, state, name, state.cluster(name).nodes)
        else:
            refuse_obstacles(home, state, name, kind)

    async with session(home, name, kind, request, emit=emit, refuse=refuse) as current:
        return await carry_out(current, request)


async def carry_out_start(current: Session, request: PluginsRequest) -> Summary:
    """Start the nodes, unless plugins are named, and the plugins; also from the middle."""
    began = time.monotonic()
    if not request.plugins:
        with current.journal.step("start nodes"):
            await current.provider.start(current.cluster.nodes, current.journal.emit)
            current.set_node_states(current.cluster.nodes, "running")
    with current.journal.step("start plugins"):
        async with current.connections() as connections:
            await _await_boot(current, connections)
            await wire_all(current, connections)
            for chosen in chosen_of(current, request.plugins):
                await plugin_steps.start(current, connections, current.cluster.nodes, chosen)
    return await finish(current, began)


async def start_stopped(current: Session, *, but: Sequence[str] = ()) -> None:
    """Start the nodes that have a disk and do not run, as after a reboot, and what of the plugins was on them.

    Args:
        current: the running operation, which goes on after this.
        but: plugins that may be half installed.

    """
    now = current.provider.states(current.name)
    # One that is still to be booted has at most half a disk, of a boot that was cut off.
    stopped = [node for node in current.cluster.nodes if now.get(node.name) == "stopped" and node.state != "planned"]
    if not stopped:
        return
    with current.journal.step("start nodes"):
        await current.provider.start(stopped, current.journal.emit)
    # What was being made when it was cut off has no plugins to start yet.
    whole = [node for node in stopped if node.state in ("running", "stopped")]
    with current.journal.step("start plugins"):
        async with current.connections() as connections:
            await together(connections.connect(node, within=BOOT_DEADLINE) for node in whole)
            for chosen in current.plugins:
                if chosen.plugin.name not in but:
                    await plugin_steps.start(current, connections, whole, chosen)
    current.set_node_states(whole, "running")


async def _await_boot(current: Session, connections: Connections) -> None:
    await together(connections.connect(node, within=BOOT_DEADLINE) for node in current.cluster.nodes)


async def carry_out_stop(current: Session, request: PluginsRequest) -> None:
    """Stop the plugins, and the nodes unless plugins are named; also from the middle."""
    running = current.provider.states(current.name)
    nodes = [node for node in current.cluster.nodes if running.get(node.name) == "running"]
    if plugins := chosen_of(current, request.plugins):
        with current.journal.step("stop plugins"):
            async with current.connections() as connections:
                for chosen in reversed(plugins):
                    await plugin_steps.stop(current, connections, nodes, chosen)
    if request.plugins:
        if current.cluster.state == "ready":
            current.state.set_cluster_state(current.name, "degraded")
        return
    with current.journal.step("stop nodes"):
        await current.provider.stop(nodes)
        current.set_node_states(nodes, "stopped")
        current.state.set_cluster_state(current.name, "stopped")


async def status(home: Home, name: str, plugin: str | None, emit: Emit) -> list[dict[str, Any]]:
    """Return what each plugin says of itself on each node: node, plugin, ok, and its words."""

    def refuse(state: State) -> None:
        require_cluster(name)(state)
        _require_plugins(state, name, [plugin] if plugin else [])
        refuse_stopped(home, state, name, state.cluster(name).nodes)

    request = PluginsRequest((plugin,) if plugin else ())
    async with session(home, name, "status", request, emit=emit, refuse=refuse) as current:
        running = current.running(current.cluster.nodes)
        async with current.connections() as connections:

            async def ask(chosen: ChosenPlugin, node: Node) -> dict[str, Any] | None:
                """Return the row of a node, none where the plugin has nothing; who is not there is not waited for."""
                row = {"node": node.name, "plugin": chosen.plugin.name}
                if node not in running:
                    return row | {"ok": False, "status": "the node is not running"}
                for result in await plugin_steps.call(current, connections, [node], chosen, node.role, "status"):
                    words = (result.stdout.strip() or result.stderr.strip()).replace("\n", "; ")
                    return row | {"ok": result.ok, "status": words}
                return None

            rows = await asyncio.gather(
                *(ask(chosen, node) for chosen in chosen_of(current, request.plugins) for node in current.cluster.nodes)
            )
    return [row for row in rows if row is not None]


def _require_plugins(state: State, name: str, plugins: Sequence[str]) -> None:
    present = [use.name for use in state.record(name).profile.plugins]
    for plugin in plugins:
        if plugin not in present:
            hint = "" if present else f"cm cluster install {name} {plugin}"
            raise NotFound("plugin on the cluster", plugin, present, hint=hint)
