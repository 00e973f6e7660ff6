"""The few system calls that Python 3.11 doesn't offer, by ctypes."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_MNT_DETACH = 2
_OPEN_TREE = 428
_MOVE_MOUNT = 429
"""Both have the same number on every processor; older C libraries have no function for them."""
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_AT_RECURSIVE = 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_SYMLINKS = 0x10
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Move this process into new namespaces (CLONE_NEW*)."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, flag: int) -> None:
    """Move this process (or, for CLONE_NEWPID, its future children) into an existing namespace."""
    _check(_libc.setns(descriptor, flag), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount something; flags are MS_*."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(_libc.mount(*arguments), f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    """Take a mount away at once, whoever still uses it."""
    _check(_libc.umount2(target.encode(), _MNT_DETACH), f"unmount {target}")


def copy_mount(path: str) -> int:
    """Return an open descriptor of a copy of what is mounted at a path, which is mounted nowhere yet."""
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC
    descriptor: int = _libc.syscall(ctypes.c_long(_OPEN_TREE), _AT_FDCWD, path.encode(), ctypes.c_uint(flags))
    _check(min(descriptor, 0), f"copy the mount of {path}")
    return descriptor


def attach_mount(descriptor: int, target: str) -> None:
    """Mount what `copy_mount` has returned."""
    flags = ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_SYMLINKS)
    arguments = (ctypes.c_long(_MOVE_MOUNT), descriptor, b"", _AT_FDCWD, target.encode(), flags)
    _check(_libc.syscall(*arguments), f"mount on {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace, with the former root at `old`."""
    _check(_libc.pivot_root(new.encode(), old.encode()), "pivot_root")


def die_with_parent(signal: int) -> None:
    """Have the kernel send this process a signal when its parent ends; a change of ids forgets it."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")


def stay_visible() -> None:
    """Let processes of the same user look at this one in /proc after it has changed its ids."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")
