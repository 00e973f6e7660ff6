"""Put a root file system together: layers, and the pieces of /dev, /proc and /sys that a node may see."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from cloudmesh_cluster.providers.local.engine import syscalls
from cloudmesh_cluster.providers.local.engine.errors import EngineError

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


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


def mount_kernel_views(root: str) -> None:
    """Mount /proc, /sys and a small /dev below `root`, for the namespaces this process is in."""
    safe = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", f"{root}/proc", "proc", safe)
    try:
        syscalls.mount("sysfs", f"{root}/sys", "sysfs", safe | syscalls.MS_RDONLY)
    except OSError:
        # Without a network namespace of its own a process gets no fresh /sys; the machine's is as good.
        syscalls.mount("/sys", f"{root}/sys", flags=syscalls.MS_BIND | syscalls.MS_REC)
    _mount_dev(f"{root}/dev")


def _mount_dev(dev: str) -> None:
    syscalls.mount("tmpfs", dev, "tmpfs", syscalls.MS_NOSUID, "mode=0755,size=64k")
    for name in _DEVICES:
        os.close(os.open(f"{dev}/{name}", os.O_CREAT | os.O_WRONLY))
        syscalls.mount(f"/dev/{name}", f"{dev}/{name}", flags=syscalls.MS_BIND)
    for name, target in _LINKS.items():
        os.symlink(target, f"{dev}/{name}")
    os.mkdir(f"{dev}/pts")
    os.mkdir(f"{dev}/shm")
    syscalls.mount("devpts", f"{dev}/pts", "devpts", options="newinstance,ptmxmode=0666,mode=0620,gid=5")
    syscalls.mount("tmpfs", f"{dev}/shm", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777")


def change_root(root: str) -> None:
    """Make `root`, a mount point, the root of this mount namespace, and forget the former one."""
    os.chdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    os.chdir("/")


def remove_contents(*, paths: list[str]) -> None:
    """Remove what is in folders which users of the nodes own, as far as these users may (a job for `run_inside`).

    What stays is not theirs, as when a client was killed before it gave them a folder: it is the client's to remove.
    """
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
