"""Layers that nobody uses any more: what was built for a former version, and what a killed build has left."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from cloudmesh_cluster.providers.local.engine.images import remove_folder

UNUSED_FOR = 30 * 24 * 3600.0
"""Seconds after which a layer that nothing was booted from is old."""


def old_layers(cache: Path) -> list[str]:
    """Return the names of layers in the cache that nothing was booted from for long, and no process has mounted."""
    folder = cache / "images"
    if not folder.is_dir():
        return []
    with (folder / ".lock").open("a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []  # somebody builds: what is unfinished is his
        names = [path.name for path in folder.glob(".*.unfinished")]
    ago = time.time() - UNUSED_FOR
    names += [
        path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "." and path.stat().st_mtime < ago
    ]
    return sorted(set(names) - _mounted(names))


def _mounted(names: list[str]) -> set[str]:
    """Return which of some layers a process of this machine sees as part of a disk."""
    found: set[str] = set()
    for file in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended, or is somebody else's
        found.update(name for name in names if name in text)
    return found


def remove_layer(cache: Path, name: str) -> None:
    """Remove a layer."""
    folder = cache / "images"
    remove_folder(folder, folder / name, ids=ids_of_this_user())
