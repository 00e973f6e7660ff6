"""Bringing plugins to nodes, and calling their role scripts with the right verb at the right time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cloudmesh_cluster.core.errors import Interrupted
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.model import Cluster, CommandResult, Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.core.tasks import together
from cloudmesh_cluster.nodes.scripts import packages_command, plugin_command
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.scripts import output_listener, without_secrets
from cloudmesh_cluster.operations.steps.wiring import raise_failed
from cloudmesh_cluster.plugins import debian_archives
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.payloads import fetch
from cloudmesh_cluster.plugins.secrets import secret_files
from cloudmesh_cluster.plugins.settings import settings_sh
from cloudmesh_cluster.ssh.connections import Connections, command_line
from cloudmesh_cluster.ssh.files import tarball

Payloads = Mapping[str, Path]
TIMEOUT = 900.0


async def fetch_payloads(session: Session) -> Payloads:
    """Fetch what the plugins install, once, into the cache; return the file of each plugin that has any.

    Raises:
        UsageError: a source can't be used, or its digest is wrong.

    """
    chosen = [each for each in session.plugins if each.plugin.payload is not None]
    fetched = {each.plugin.name: await _fetch(session, each) for each in chosen}
    return {name: path for name, path in fetched.items() if path is not None}


async def _fetch(session: Session, chosen: ChosenPlugin) -> Path | None:
    step, loop, abandoned = f"fetch {chosen.plugin.name}", asyncio.get_running_loop(), threading.Event()

    def progress(line: str) -> None:
        if abandoned.is_set():
            # Threads can't be cancelled; this one ends here, and with it what it has started.
            raise Interrupted(f"{step}: nobody waits for it")
        # The journal belongs to the thread of the loop.
        loop.call_soon_threadsafe(session.journal.emit, Event("output", step, message=line))

    try:
        with session.journal.progress(step):
            return await asyncio.to_thread(fetch, chosen, session.home, progress)
    finally:
        abandoned.set()


async def prepare_node(
    session: Session, connections: Connections, node: Node, chosen: ChosenPlugin, payloads: Payloads
) -> None:
    """Bring a plugin's folder, settings and payload to a node, and install what every role has."""
    name = chosen.plugin.name
    profile = session.record.profile
    settings = settings_sh(chosen, master=profile.master, worker=profile.worker, role=node.role)
    files = {
        str(path.relative_to(chosen.plugin.folder)): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in sorted(chosen.plugin.folder.rglob("*"))
        if path.is_file()
    }
    shared = resource("scripts", "boot", "plugin.sh").read_bytes()
    secrets = secret_files(session.home, node, chosen)
    archive = tarball({**files, **secrets, "settings.sh": (settings, 0o644), "plugin.sh": (shared, 0o644)})
    with session.journal.progress(f"push {name}", node=node.name):
        await _bring_cm_service(connections, node)
        folder = f"/usr/local/lib/cm/plugins/{name}"
        raise_failed(f"push {name}", [await connections.unpack(node, archive, folder, sudo=True, timeout=TIMEOUT)])
        if (payload := _payload_for(node, chosen, payloads)) is not None:
            place = f"/var/cache/cm/payloads/{name}/{payload.name}"
            raise_failed(
                f"push {payload.name}", [await connections.push(node, payload, place, sudo=True, timeout=TIMEOUT)]
            )
    await _install_packages(session, connections, node, chosen)
    await _apply_firewall(connections, node, chosen)
    await call(session, connections, [node], chosen, "all", "install")


def _payload_for(node: Node, chosen: ChosenPlugin, payloads: Payloads) -> Path | None:
    wanted = chosen.plugin.payload
    return payloads.get(chosen.plugin.name) if wanted and wanted.role in (None, node.role) else None


async def _install_packages(session: Session, connections: Connections, node: Node, chosen: ChosenPlugin) -> None:
    """Install the packages of a plugin that are not baked into the node's image."""
    if not chosen.plugin.packages:
        return
    step = f"packages of {chosen.plugin.name}"
    with session.journal.progress(step, node=node.name):
        archive = await _archive_for(session, connections, node, chosen.plugin.packages)
        line = packages_command(chosen.plugin.packages, archive=archive is not None)
        raise_failed(step, [await connections.run(node, line, sudo=True, stdin=archive, timeout=TIMEOUT)])


async def _archive_for(session: Session, connections: Connections, node: Node, packages: Sequence[str]) -> Path | None:
    """Return the archive with packages of a node's release that a bundle has brought, if any."""
    archives = debian_archives.collected(session.home, packages)
    if not archives:
        return None
    result = await connections.run(node, debian_archives.CODENAME, timeout=TIMEOUT)
    raise_failed("look at the release", [result])
    return archives.get(result.stdout)


async def _bring_cm_service(connections: Connections, node: Node) -> None:
    # In this order: cm-service lets no service start without the firewall.
    for name in ("cm-firewall", "cm-service"):
        script, place = resource("scripts", "boot", name).read_bytes(), f"/usr/local/sbin/{name}"
        result = await connections.push(node, script, place, mode=0o755, sudo=True, timeout=TIMEOUT)
        raise_failed(f"push {name}", [result])


async def _apply_firewall(connections: Connections, node: Node, chosen: ChosenPlugin) -> None:
    """Load the firewall rules that wiring wrote to the node: not every service is started by `cm-service`."""
    if chosen.plugin.ports:
        result = await connections.run(node, "/usr/local/sbin/cm-firewall apply", sudo=True, timeout=TIMEOUT)
        raise_failed("firewall", [result])


async def call(
    session: Session,
    connections: Connections,
    nodes: Sequence[Node],
    chosen: ChosenPlugin,
    script: str,
    verb: str,
    *,
    cluster: Cluster | None = None,
    **extra: str,
) -> list[CommandResult]:
    """Call a role script of a plugin on nodes at once, if the plugin has it.

    Args:
        session: the running operation.
        connections: to the nodes.
        nodes: where to call it.
        chosen: the plugin.
        script: "all", "master" or "worker".
        verb: what to do.
        cluster: whose nodes the script sees; None for the cluster as it is.
        extra: further variables for the script.

    Raises:
        RemoteFailed: it failed on a node.

    """
    name = chosen.plugin.name
    if not nodes or not (chosen.plugin.folder / f"{script}.sh").exists():
        return []
    seen = cluster or session.cluster
    extra["CM_USER"] = session.user
    step = f"{name} {verb}"

    async def run(node: Node) -> CommandResult:
        with session.journal.progress(step, node=node.name) as part:
            result = await connections.run(
                node,
                plugin_command(seen, node, name, [f"{script}.sh", verb], **extra),
                sudo=True,
                timeout=TIMEOUT,
                on_line=output_listener(session, node, f"{name}-{verb}"),
            )
            part.judge(result)
        return result

    results = without_secrets(session, await asyncio.gather(*(run(node) for node in nodes)))
    if verb != "status":
        raise_failed(step, results, hint=f"its output is in {session.logs}")
    return results


async def install_role(session: Session, connections: Connections, nodes: Sequence[Node], chosen: ChosenPlugin) -> None:
    """Install on nodes what their roles have."""
    await together(call(session, connections, [node], chosen, node.role, "install") for node in nodes)


async def join(session: Session, connections: Connections, new: Sequence[Node], chosen: ChosenPlugin) -> None:
    """Tell the nodes that are there already who comes, then start the plugin on the new ones, role after role."""
    names = {node.name for node in new}
    old = [node for node in session.cluster.nodes if node.name not in names]
    if old:
        await call(session, connections, old, chosen, "all", "join")
        await call(session, connections, [n for n in old if n.role == "master"], chosen, "master", "join")
    await start(session, connections, new, chosen)


async def start(session: Session, connections: Connections, nodes: Sequence[Node], chosen: ChosenPlugin) -> None:
    """Start a plugin on nodes, in the order of roles that it asks for."""
    for role in chosen.plugin.order:
        await call(session, connections, [node for node in nodes if node.role == role], chosen, role, "start")


async def stop(session: Session, connections: Connections, nodes: Sequence[Node], chosen: ChosenPlugin) -> None:
    """Stop a plugin on nodes, in the opposite order of roles."""
    for role in reversed(chosen.plugin.order):
        await call(session, connections, [node for node in nodes if node.role == role], chosen, role, "stop")


async def uninstall(session: Session, connections: Connections, chosen: ChosenPlugin, *, nodes: Sequence[Node]) -> None:
    """Take back what a plugin installed on nodes, also where its installation was cut off in the middle."""
    name = chosen.plugin.name
    folders = [f"/usr/local/lib/cm/plugins/{name}", f"/var/cache/cm/payloads/{name}"]
    there = await connections.run_all(nodes, command_line(["test", "-e", folders[0]]), sudo=True, timeout=TIMEOUT)
    # A node that does not answer may well have the plugin.
    raise_failed(f"look for {name}", [result for result in there if result.exit == -1])
    nodes = [node for node, result in zip(nodes, there, strict=True) if result.ok]
    for role in (*reversed(chosen.plugin.order), "all"):
        of_role = [node for node in nodes if role in ("all", node.role)]
        await call(session, connections, of_role, chosen, role, "uninstall")
    away = command_line(["rm", "-rf", "--", *folders])
    raise_failed(f"remove {name}", await connections.run_all(nodes, away, sudo=True, timeout=TIMEOUT))


async def leave(
    session: Session, connections: Connections, leaving: Sequence[Node], *, answering: Sequence[Node]
) -> None:
    """Let the plugins part with nodes before these go: those that still answer hand their work to those that stay."""
    staying = without(session.cluster, [node.name for node in leaving])
    for chosen in reversed(session.plugins):
        await _tell(session, connections, chosen, staying, [node.name for node in leaving])
        await call(session, connections, answering, chosen, "worker", "leave")


async def tell_who_left(session: Session, connections: Connections, names: Sequence[str]) -> None:
    """Tell the plugins of nodes that are gone without having left."""
    for chosen in reversed(session.plugins):
        await _tell(session, connections, chosen, without(session.cluster, names), names)


async def _tell(
    session: Session, connections: Connections, chosen: ChosenPlugin, staying: Cluster, names: Sequence[str]
) -> None:
    leaving, running = " ".join(names), session.running(staying.nodes)
    masters = [node for node in running if node.role == "master"]
    await call(session, connections, masters, chosen, "master", "leave", cluster=staying, CM_LEAVING=leaving)
    await call(session, connections, running, chosen, "all", "leave", cluster=staying)


def without(cluster: Cluster, names: Sequence[str]) -> Cluster:
    """Return a cluster as it is when some nodes are gone."""
    return replace(cluster, nodes=tuple(node for node in cluster.nodes if node.name not in names))
