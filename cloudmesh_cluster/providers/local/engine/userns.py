"""Enter a user namespace in which this process is root, the same way for root and for an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from cloudmesh_cluster.providers.local.engine import syscalls
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import Ids, Row

ANCHOR = "/mnt"
"""Where the new namespace sees the folders that it was given, whatever lies above them outside."""

MOUNT_POINT = f"{ANCHOR}/root"
"""An empty folder there, to mount a root file system on."""

VIEW_POINT = f"{ANCHOR}/view"
"""Another one, to prepare what is mounted below that root."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def enter(
    ids: Ids,
    flags: int,
    *,
    folders: Mapping[str, Path],
    behind: Callable[[int], object] = lambda pid: None,
) -> None:
    """Move this (single-threaded) process into a new user and mount namespace and become root there.

    Args:
        ids: the maps of the new user namespace.
        flags: further namespaces to make (CLONE_NEW*).
        folders: shown inside as ANCHOR/<key>: an unprivileged root could not walk through /root.
        behind: called with this process's id by a child that stays behind in the old namespaces.

    Raises:
        EngineError: the machine forbids it, with what to change.

    """
    mapper = _Mapper(ids, behind)
    privileged = os.geteuid() == 0
    try:
        if privileged:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            _show(folders)
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | flags)
    except OSError as error:
        raise _forbidden(error) from error
    mapper.write_maps()
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.stay_visible()
    try:
        if not privileged:
            _show(folders)
    except OSError as error:
        raise _forbidden(error) from error


class _Mapper:
    """A child that stays in the old user namespace, where it may write the maps of the new one."""

    def __init__(self, ids: Ids, behind: Callable[[int], object]) -> None:
        wait, self._go = os.pipe()
        self._answer, answer = os.pipe()
        target = os.getpid()
        if os.fork() == 0:
            os.close(self._go)
            os.close(self._answer)
            _child(lambda: _map_then(ids, target, wait, answer, behind))
        os.close(wait)
        os.close(answer)

    def write_maps(self) -> None:
        os.write(self._go, b"x")
        os.close(self._go)
        answer = os.read(self._answer, 65536)
        os.close(self._answer)
        if answer != b"mapped":
            raise EngineError(*json.loads(answer or b'["the id maps could not be written"]'))


def _child(work: Callable[[], object]) -> None:
    status = 1
    try:
        work()
        status = 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    except BaseException:  # the child ends below without Python's own last words; they are printed here
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _map_then(ids: Ids, target: int, wait: int, answer: int, behind: Callable[[int], object]) -> None:
    if not os.read(wait, 1):
        return
    try:
        _write_map("uid", ids.uids, target)
        _write_map("gid", ids.gids, target)
    except EngineError as error:
        os.write(answer, json.dumps([error.message, error.hint]).encode())
        return
    os.write(answer, b"mapped")
    os.close(answer)
    behind(target)


def _write_map(kind: str, rows: tuple[Row, ...], target: int) -> None:
    if os.geteuid() == 0:
        text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows)
        try:
            Path(f"/proc/{target}/{kind}_map").write_text(text, encoding="utf-8")
        except OSError as error:
            raise EngineError(
                f"root may not write a {kind} map ({error.strerror})",
                "root has too few rights here, as in a container: run as an ordinary user with subordinate ids",
            ) from error
        return
    program = shutil.which(f"new{kind}map", path=PATH)
    if program is None:
        raise EngineError(f"new{kind}map is missing", "apt-get install uidmap")
    words = [program, str(target), *(str(number) for row in rows for number in row)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(
            f"new{kind}map failed: {done.stderr.strip()}", f"look at the rows of this user in /etc/sub{kind}"
        )


def _show(folders: Mapping[str, Path]) -> None:
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    opened = {name: _open_folder(folder) for name, folder in folders.items()}
    syscalls.mount("tmpfs", ANCHOR, "tmpfs", options="mode=0755,size=64k")
    for place in (MOUNT_POINT, VIEW_POINT):
        os.mkdir(place, 0o755)
    for name, descriptor in opened.items():
        os.mkdir(f"{ANCHOR}/{name}")
        bind = syscalls.MS_BIND | syscalls.MS_REC
        syscalls.mount(f"/proc/self/fd/{descriptor}", f"{ANCHOR}/{name}", flags=bind)
        os.close(descriptor)


def _open_folder(folder: Path) -> int:
    try:
        return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise EngineError(f"the folder {folder} can't be opened: {error.strerror}") from error


def _forbidden(error: OSError) -> EngineError:
    return EngineError(f"user namespaces can't be used here: {error}", _why_forbidden() or "")


def _why_forbidden() -> str | None:
    """Return what to change when a setting of this machine forbids user namespaces, else None."""
    if _setting("user/max_user_namespaces") == 0:
        return "as root: sysctl -w user.max_user_namespaces=15000"
    if os.geteuid() == 0:
        return None
    if _setting("kernel/unprivileged_userns_clone") == 0:
        return "as root: sysctl -w kernel.unprivileged_userns_clone=1"
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == 1:
        return "AppArmor forbids it; as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    return None


def _setting(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def wait_as_init(work: Callable[[], object]) -> int:
    """Run `work` in a child, the first of this process's new PID namespace, and return its exit status.

    The child and all that it starts die with this process.
    """
    pid = os.fork()
    if pid == 0:
        syscalls.die_with_parent(signal.SIGKILL)
        _child(work)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
