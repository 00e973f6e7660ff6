"""Using a cluster: commands on nodes, files to and from them, the system's ssh."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import would_be_lost
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.core.targets import select
from cloudmesh_cluster.operations.session import connections_of
from cloudmesh_cluster.operations.steps.preconditions import refuse_stopped
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.providers.base import Provider
from cloudmesh_cluster.ssh.connections import command_line
from cloudmesh_cluster.state.store import State


def _provider(home: Home, state: State, name: str) -> Provider:
    record = state.record(name)
    return provider_of(home, record.provider_type, record.provider_settings)


async def command(
    home: Home, name: str, words: Sequence[str], *, target: str = "all", timeout: float | None = None
) -> list[CommandResult]:
    """Run a command on nodes at once, as the login user; return every node's answer, in the order of nodes.

    Args:
        home: whose cluster.
        name: the cluster's.
        words: one word is a shell line, several are an argument vector.
        target: which nodes.
        timeout: seconds for each node.

    """
    with State(home) as state:
        nodes = _running(home, state, name, target)
        async with connections_of(home, state, name, _provider(home, state, name)) as connections:
            return await connections.run_all(nodes, command_line(words), timeout=timeout)


async def put(home: Home, name: str, local: Path, remote: str, *, target: str = "all") -> list[CommandResult]:
    """Copy a file to nodes at once; each gets it whole or not at all.

    Raises:
        UsageError: the local file can't be read.

    """
    if not local.is_file() or not os.access(local, os.R_OK):
        raise UsageError(f"{local}: not a file that can be read", hint="tar a folder first, then put the archive")
    mode = local.stat().st_mode & 0o777
    with State(home) as state:
        nodes = _running(home, state, name, target)
        async with connections_of(home, state, name, _provider(home, state, name)) as connections:
            remote = remote + local.name if remote.endswith("/") else remote
            return await connections.push_many(nodes, local, remote, mode=mode)


async def get(home: Home, name: str, remote: str, local: str, *, target: str = "all") -> list[CommandResult]:
    """Copy a file from nodes at once, one file a node.

    Args:
        home: whose cluster.
        name: the cluster's.
        remote: the file on the nodes.
        local: the file here for a single node, or a folder (one that is there, or ends in "/") for a file of the same
            name; for several nodes a folder that gets a folder for each: LOCAL/NODE/FILE.
        target: which nodes.

    Raises:
        UsageError: a file would be overwritten; nothing was copied.

    """
    with State(home) as state:
        nodes = select(state.cluster(name).nodes, target)
        paths = dict(zip(nodes, _places(nodes, remote, local), strict=True))
        if existing := [path for path in paths.values() if would_be_lost(path)]:
            raise UsageError(f"{existing[0]} exists; get never overwrites", hint="name another place")
        refuse_stopped(home, state, name, nodes)
        async with connections_of(home, state, name, _provider(home, state, name)) as connections:

            async def fetch(node: Node) -> CommandResult:
                path = paths[node]
                _make_folder(path.parent)
                result = await connections.fetch(node, remote, path)
                if not result.ok and len(nodes) > 1:
                    with contextlib.suppress(OSError):  # it holds what other calls have brought
                        path.parent.rmdir()
                return replace(result, stdout=str(path)) if result.ok else result

            return await asyncio.gather(*(fetch(node) for node in nodes))


def _places(nodes: Sequence[Node], remote: str, local: str) -> list[Path]:
    folder, name = Path(local), Path(remote).name
    if len(nodes) > 1:
        return [folder / node.name / name for node in nodes]
    return [folder / name if local.endswith("/") or folder.is_dir() else folder]


def _make_folder(folder: Path) -> None:
    """Make a folder for what is fetched.

    Raises:
        UsageError: it can't be made.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} can't be made: {error.strerror}", hint="name another place") from error


def _running(home: Home, state: State, name: str, target: str) -> tuple[Node, ...]:
    nodes = select(state.cluster(name).nodes, target)
    refuse_stopped(home, state, name, nodes)
    return nodes


def ssh_argv(home: Home, name: str, node: str | None, words: Sequence[str]) -> list[str]:
    """Return the command line of the system's ssh that logs in to a node, the master when none is named.

    Raises:
        NotFound: there is no such cluster or node.
        UsageError: the target names several nodes.

    """
    with State(home) as state:
        nodes = select(state.cluster(name).nodes, node or "master")
        if len(nodes) != 1:
            hint = f"one of {', '.join(each.short_name for each in nodes[:5])}; on several: cm cluster cmd {name}"
            raise UsageError(f"{node!r} names {len(nodes)} nodes; ssh logs in to one", hint=hint)
    line = [command_line(words)] if words else []
    return ["ssh", "-F", str(home.ssh_config(name)), nodes[0].name, *(["--", *line] if line else [])]


def refuse_silent(home: Home, name: str, node: str | None) -> None:
    """Raise when the reason why ssh got no answer is that the node does not run.

    Raises:
        UsageError: says so, and how to start it.

    """
    with State(home) as state:
        refuse_stopped(home, state, name, select(state.cluster(name).nodes, node or "master"))
