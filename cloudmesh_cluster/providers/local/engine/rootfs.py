"""Put a root file system together: layers, and the pieces of /dev, /proc and /sys that a node may see.

Whoever owns a root file system may put links into it that lead anywhere. So nothing below it is touched by path as
long as other folders are in sight: the views are prepared elsewhere, and put in their places after `change_root`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Mapping, Sequence

from cloudmesh_cluster.providers.local.engine import syscalls
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.userns import VIEW_POINT

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_SAFE = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def mount_layers(target: str, *, lower: Sequence[str], upper: str, work: str) -> None:
    """Mount an overlay: `lower` lists the read-only layers, the topmost first.

    Raises:
        EngineError: the file system below can't carry an overlay.

    """
    options = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work},userxattr"
    try:
        syscalls.mount("overlay", target, "overlay", options=options)
    except OSError as error:
        raise EngineError(
            f"the layers of the node can't be mounted: {error}",
            "put CM_HOME and CM_CACHE on a disk of this machine (ext4, xfs, btrfs, tmpfs), not on NFS or an overlay",
        ) from error


# --- views: file systems that are mounted nowhere yet, as open descriptors ------------------------------------------


def proc() -> int:
    """Return a /proc of the PID namespace that this process is in."""
    return _view("proc", flags=_SAFE)


def sys_() -> int:
    """Return a read-only /sys of the network namespace that this process is in."""
    return _view("sysfs", flags=_SAFE | syscalls.MS_RDONLY)


def dev() -> int:
    """Return a /dev with the few devices that are harmless."""
    return _view("tmpfs", flags=syscalls.MS_NOSUID, options="mode=0755,size=64k", fill=_fill_dev)


def run() -> int:
    """Return an empty /run."""
    return _view("tmpfs", flags=syscalls.MS_NOSUID | syscalls.MS_NODEV, options="mode=0755")


def copy_of(folder: str) -> int:
    """Return a read-only copy of a folder, for root alone.

    A bind mount would tell the node, in mountinfo, where on this machine it lies.
    """
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV

    def fill(top: str) -> None:
        shutil.copytree(folder, top, dirs_exist_ok=True)
        syscalls.mount("none", top, flags=flags | syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY)

    return _view("tmpfs", flags=flags, options="mode=0700,size=1m", fill=fill)


def file_with(text: str) -> int:
    """Return a file."""
    syscalls.mount("tmpfs", VIEW_POINT, "tmpfs", _SAFE, "mode=0755,size=64k")
    try:
        file = f"{VIEW_POINT}/file"
        replace_file(file, text)
        return syscalls.copy_mount(file)
    finally:
        syscalls.unmount(VIEW_POINT)


def _view(kind: str, *, flags: int, options: str = "", fill: Callable[[str], None] | None = None) -> int:
    syscalls.mount(kind, VIEW_POINT, kind, flags, options)
    try:
        if fill is not None:
            fill(VIEW_POINT)
        return syscalls.copy_mount(VIEW_POINT)
    finally:
        syscalls.unmount(VIEW_POINT)


def _fill_dev(top: str) -> None:
    for name in _DEVICES:
        os.close(os.open(f"{top}/{name}", os.O_CREAT | os.O_WRONLY))
        syscalls.mount(f"/dev/{name}", f"{top}/{name}", flags=syscalls.MS_BIND)
    for name, target in _LINKS.items():
        os.symlink(target, f"{top}/{name}")
    os.mkdir(f"{top}/pts")
    os.mkdir(f"{top}/shm")
    syscalls.mount("devpts", f"{top}/pts", "devpts", options="newinstance,ptmxmode=0666,mode=0620,gid=5")
    syscalls.mount("tmpfs", f"{top}/shm", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777")


# --- inside ---------------------------------------------------------------------------------------------------------


def change_root(root: str, views: Mapping[str, int]) -> None:
    """Make `root`, a mount point, the root of this mount namespace, forget the former one, and mount views in it.

    From then on no path leads out of it, wherever its links point. No Python module is loaded any more: it would be
    one of the root's owner.

    Args:
        root: the mount point.
        views: what is mounted where.

    Raises:
        OSError: a place can't be mounted on.

    """
    sys.meta_path.clear()
    os.chdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    os.chdir("/")
    for place, descriptor in views.items():
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            _make_folder(place)
        elif not os.path.isfile(place):
            replace_file(place, "")
        syscalls.attach_mount(descriptor, place)
        os.close(descriptor)


def _make_folder(place: str) -> None:
    names = place.strip("/").split("/")
    for folder in ("/" + "/".join(names[: depth + 1]) for depth in range(len(names))):
        if not os.path.isdir(folder):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder)
            os.mkdir(folder, 0o755)


def replace_file(path: str, text: str) -> None:
    """Write a file in the place of what has the name, perhaps a link; the folders above it are followed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())


def remove_contents(*, paths: list[str]) -> None:
    """Remove what is in folders which users of the nodes own, as far as these users may (a job for `run_inside`).

    What stays is not theirs, as when a client was killed before it gave them a folder: it is the client's to remove.
    """
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
