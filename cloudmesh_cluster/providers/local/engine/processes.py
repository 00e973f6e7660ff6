"""Processes of an engine as this machine sees them: found by their marker, and ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

from cloudmesh_cluster.providers.local.engine import launch
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import Ids, ids_of_this_user

PATIENCE = 60.0
"""Seconds until a process that was killed must have ended."""
_DEPTH_OF_NODES = 3
"""In how many PID namespaces a process of a node is: this machine's, the holder's and its own."""


def marked_processes(folder: Path, ids: Ids | None = None) -> Iterator[int]:
    """Yield the processes that were started for a folder, by the marker in their environment.

    Anybody may set the variable. So a process counts only when it runs under this user's id or one of the nodes', and
    not in a node: those end with their holder.

    Args:
        folder: that of an engine, or of images.
        ids: the nodes' ids; None: those that new nodes of this user get.

    """
    marker = f"{launch.MARKER}={folder}".encode()
    own = _user_ids(ids)
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if marker in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    status = _status_lines(entry.name)
                    uid, depth = int(status["Uid"].split()[0]), len(status["NSpid"].split())
                    if depth < _DEPTH_OF_NODES and any(uid in some for some in own):
                        yield int(entry.name)


def _user_ids(ids: Ids | None) -> list[range]:
    own = range(os.geteuid(), os.geteuid() + 1)
    if ids is None:
        try:
            ids = ids_of_this_user()
        except EngineError:  # Without ids of their own there are no nodes.
            return [own]
    return [own, *(range(outside, outside + count) for _, outside, count in ids.uids)]


def _status_lines(pid: str) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def children_of(parent: int) -> dict[int, int]:
    """Return the children of a holder by the ids that it knows them by: it counts from 1, in its own PID namespace."""
    found: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8").split():
            ids = _status_lines(pid)["NSpid"].split()
            if len(ids) >= _DEPTH_OF_NODES:
                found[int(ids[-2])] = int(pid)
    return found


def kill(pid: int) -> None:
    """Kill a process and wait until it has ended; one that is gone already is no error."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            ended = select.poll()  # Not select(): this process may have thousands of files open.
            ended.register(descriptor, select.POLLIN)
            ended.poll(PATIENCE * 1000)
        finally:
            os.close(descriptor)
