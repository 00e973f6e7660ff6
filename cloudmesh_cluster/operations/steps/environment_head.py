"""Environments whose packages the head fetches: it builds them from the lock and gives them to the other nodes."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from cloudmesh_cluster.conda import head
from cloudmesh_cluster.conda.channels import Channel, conceal
from cloudmesh_cluster.conda.environments import CondaEnvironment, Environments
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.wiring import raise_failed
from cloudmesh_cluster.ssh.connections import Connections

TIMEOUT = 1800.0
_UNPACK = """\
set -euo pipefail
umask 022
mkdir -p "$1"
rm -rf "$1"/tool-* "$1"/.tool.*
new=$(mktemp -d "$1/.tool.XXXXXX")
tar -xz --no-same-owner -C "$new"
chmod 755 "$new"
mv -T "$new" "$2"
"""


async def build(
    session: Session,
    connections: Connections,
    environment: CondaEnvironment,
    found: Sequence[Channel],
    *,
    ssl_verify: str,
) -> tuple[CondaEnvironment, str]:
    """Have the archive of a locked environment on the head; costs little where it is there.

    Args:
        session: the running operation.
        connections: to the nodes.
        environment: its lock is in the cluster's folder.
        found: its channels; the head must have a way to them.
        ssl_verify: see `solver.client_for`.

    Returns:
        The environment with what came of it, and the archive's path on the head.

    Raises:
        UsageError: the head can't fetch or build it.
        RemoteFailed: the head does not answer.

    """
    store, master = Environments(session.home, session.name), session.cluster.master
    with session.journal.progress(f"build {environment.name}", node=master.name):
        folder, tool = await _bring_tool(session, connections, environment, master)
        lock = store.lock_file(environment).read_text()
        job = head.job(environment, lock, found, ssl_verify)
        line = shlex.join(["python3", "-I", "-c", head.PROGRAM, tool, folder])
        result = await connections.run(master, line, sudo=True, stdin=job, timeout=TIMEOUT)
        if result.exit > 0:
            said = (conceal(result.stderr, found).strip() or "no output").splitlines()[-1]
            hint = "it needs a way to the channels and Python 3.11; or let this machine fetch: --fetch client"
            raise UsageError(f"the head can't build it: {said}", hint=hint)
        raise_failed("build on the head", [result])
        about = json.loads(result.stdout)
        manifest = store.manifest_file(environment)
        manifest.unlink(missing_ok=True)
        listed = str(PurePosixPath(about["file"]).with_suffix(".files"))
        raise_failed("read what was built", [await connections.fetch(master, listed, manifest, timeout=TIMEOUT)])
    scripts = tuple(about["link_scripts"])
    return replace(environment, archive_sha256=about["sha256"], link_scripts=scripts), about["file"]


async def _bring_tool(
    session: Session, connections: Connections, environment: CondaEnvironment, master: Node
) -> tuple[str, str]:
    """Return the folder in which the head works, and that of the tool in it, once for all environments."""
    archive = await asyncio.to_thread(head.tool, session.home)
    folder = f"{environment.install_prefix}/.environments/.head"
    tool = f"{folder}/{archive.stem}"
    if not (await connections.run(master, shlex.join(["test", "-d", tool]))).ok:
        line = shlex.join(["bash", "-c", _UNPACK, "unpack", folder, tool])
        result = await connections.run(master, line, sudo=True, stdin=archive, timeout=TIMEOUT)
        raise_failed("bring rattler to the head", [result])
    return folder, tool


async def give(session: Session, connections: Connections, node: Node, archive: str, line: str) -> CommandResult:
    """Let the head run a shell line, as root, on a node, with an archive of its own as the input."""
    master = session.cluster.master
    line = f"sudo -n {line}"
    if node.name != master.name:
        line = shlex.join(["ssh", "-o", "BatchMode=yes", "--", node.name, line])
    result = await connections.run(master, f"{line} < {shlex.quote(archive)}", timeout=TIMEOUT)
    return replace(result, node=node.name)
