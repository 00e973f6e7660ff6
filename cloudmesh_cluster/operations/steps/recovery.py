"""What a stack does not say of its cluster and the nodes still have: scripts, and secrets of plugins."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path

from cloudmesh_cluster.core.events import Event, now
from cloudmesh_cluster.core.files import make_private, write_atomically
from cloudmesh_cluster.core.model import Node, ScriptExpectation
from cloudmesh_cluster.nodes.scripts import digest
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.description import Description, ScriptName
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.secret_settings import FILE, keep_secrets, read_assignments, secret_settings
from cloudmesh_cluster.ssh.connections import Connections
from cloudmesh_cluster.state.records import WrittenScript

DEADLINE = 60.0
SCRIPTS, PLUGINS = "/var/lib/cm/scripts", "/usr/local/lib/cm/plugins"
LIST_SCRIPTS = f"if cd {SCRIPTS} 2>/dev/null; then find . -type f -exec sha256sum {{}} +; fi"
LIST_PLUGINS = f"ls {PLUGINS} 2>/dev/null || true"


async def recover(current: Session, connections: Connections, described: Description) -> None:
    """Fetch from the nodes what new nodes will need, and warn about what is lost; also again."""
    await _scripts(current, connections, described)
    await _secrets(current, connections)
    await _compare_plugins(current, connections)


async def _secrets(current: Session, connections: Connections) -> None:
    """Fetch the files that only the cluster's nodes know."""
    for chosen in current.plugins:
        plugin = chosen.plugin
        await _secret_settings(current, connections, chosen)
        for secret in plugin.secrets:
            file = current.home.secrets(current.name, plugin.name) / secret.name
            node = current.cluster.workers[0] if secret.role == "worker" else current.cluster.master
            content = await _read(connections, node, f"{PLUGINS}/{plugin.name}/secrets/{secret.name}")
            if content and not file.exists():
                make_private(file.parent)
                write_atomically(file, content)
            elif not content:
                what = f"{node.name} lacks the secret {secret.name} of plugin {plugin.name}"
                current.journal.warn(f"{what}: install it again")


async def _secret_settings(current: Session, connections: Connections, chosen: ChosenPlugin) -> None:
    """Fetch the settings of a plugin that are secrets."""
    wanted = secret_settings(chosen)
    if not wanted:
        return
    name = chosen.plugin.name
    text = (await _read(connections, current.cluster.master, f"{PLUGINS}/{name}/{FILE}")).decode(errors="replace")
    found = read_assignments(text, wanted)
    keep_secrets(current.home, current.name, {(name, setting): value for setting, value in found.items()})
    current.journal.hide(found.values())
    for setting in wanted:
        if setting.name not in found and not setting.optional:
            current.journal.warn(f"{current.cluster.master.name} lacks the secret {name}.{setting.name}")


async def _scripts(current: Session, connections: Connections, described: Description) -> None:
    """Fetch the text of the cluster's scripts from the nodes that ran them, and say which are lost."""
    known = {script.digest for script in current.state.scripts(current.name)}
    seen: set[str] = set()
    for script in described.scripts:
        node = current.cluster.workers[0] if script.role == "worker" else current.cluster.master
        files = await _files_of(connections, node)
        seen |= set(files)
        if script.digest in known:
            continue
        content = await _read(connections, node, f"{SCRIPTS}/{files[script.digest]}") if script.digest in files else b""
        if digest(content) == script.digest:
            _remember(current, script, content)
        else:
            hint = f"cm cluster write {current.name} {script.role} --no-run --file FILE"
            current.journal.warn(f"script {script.name} is lost: nodes added later won't run it until {hint}")
    others = await _unknown_scripts(current, connections, {script.digest for script in described.scripts})
    if others:
        current.journal.warn(
            f"the stack knows nothing of {', '.join(others)} in {SCRIPTS}, written after the last scale: nodes added"
            f" later won't run them until cm cluster write {current.name} ROLE --no-run --file FILE"
        )


def _remember(current: Session, script: ScriptName, content: bytes) -> None:
    """Keep a script as one that has run, as is expected of it, on the nodes there are."""
    written = WrittenScript(
        0, script.role, script.name, script.digest, content, now(), "remembered", current.journal.operation.id,
        ScriptExpectation(exit=script.exit),
    )  # fmt: skip
    identity = current.state.add_script(current.name, written)
    nodes = [node for node in current.cluster.nodes if script.role in ("all", node.role)]
    current.state.add_exits(identity, {node.name: script.exit for node in nodes})
    current.journal.emit(Event("info", "scripts", message=f"script {script.name} was read from a node"))


async def _unknown_scripts(current: Session, connections: Connections, known: set[str]) -> list[str]:
    """Return the names of scripts that lie on the master or the first worker, but not in the stack's description."""
    found: dict[str, None] = {}
    for node in (current.cluster.master, current.cluster.workers[0]):
        for each, path in (await _files_of(connections, node)).items():
            name = Path(path).name.partition("-")[2]
            if each not in known and not name.endswith(("-test", "-undo")):
                found[name] = None
    return list(found)


async def _files_of(connections: Connections, node: Node) -> dict[str, str]:
    """Return the files of a node's scripts by their digest."""
    result = await connections.run(node, LIST_SCRIPTS, sudo=True, timeout=DEADLINE)
    pairs = (line.split(None, 1) for line in result.stdout.splitlines())
    return {each: path for each, path in pairs if not path.endswith((".lock", ".new"))} if result.ok else {}


async def _read(connections: Connections, node: Node, path: str) -> bytes:
    result = await connections.run(node, f"base64 {shlex.quote(path)}", sudo=True, timeout=DEADLINE)
    return base64.b64decode(result.stdout) if result.ok else b""


async def _compare_plugins(current: Session, connections: Connections) -> None:
    """Warn where the master has other plugins than the stack says: they came or went after the last scale."""
    result = await connections.run(current.cluster.master, LIST_PLUGINS, timeout=DEADLINE)
    there, told = set(result.stdout.split()), {chosen.plugin.name for chosen in current.plugins}
    if result.ok and there != told:
        current.journal.warn(
            f"the nodes have the plugins {', '.join(sorted(there)) or 'none'}, the stack says"
            f" {', '.join(sorted(told)) or 'none'}: cm cluster install or uninstall sets it right"
        )
