"""The processes of a devcloud: started in the background, found by a marker in their environment, ended by pid."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from devcloud.errors import DevcloudError
from devcloud.layout import MARKER, Cloud

_GRACE = 3.0
_PAUSE = 0.05


def start(cloud: Cloud, name: str, words: Sequence[str | Path], *, more: Mapping[str, str] | None = None) -> int:
    """Start a program of the cloud in the background and return its process id; what it prints goes to its log."""
    with (cloud.log / f"{name}.out").open("ab") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**cloud.environment(), "DEVCLOUD_SERVICE": name, **(more or {})},
            cwd="/",
            start_new_session=True,
        )
    (cloud.run / f"{name}.pid").write_text(f"{process.pid}\n", encoding="utf-8")
    while process.poll() is None and not is_ours(cloud, process.pid):
        # The kernel shows no environment until it has set up the program that it was told to execute.
        time.sleep(0)
    return process.pid


def run(cloud: Cloud, name: str, words: Sequence[str | Path], *, more: Mapping[str, str] | None = None) -> None:
    """Run a program of the cloud to its end, with more variables in its environment.

    Raises:
        DevcloudError: it failed; with the end of its log.

    """
    with (cloud.log / f"{name}.out").open("ab") as output:
        environment = {**cloud.environment(), **(more or {})}
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd="/", check=False
        )
    if done.returncode:
        raise DevcloudError(f"{name} failed:\n{last_lines(cloud, name)}", f"look into {cloud.log}")


def process_id(cloud: Cloud, name: str) -> int | None:
    """Return the process id of a program of the cloud, or None when it doesn't run."""
    try:
        pid = int((cloud.run / f"{name}.pid").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return pid if is_ours(cloud, pid) else None


def is_ours(cloud: Cloud, pid: int) -> bool:
    """Return whether a process is one of this cloud's, and not a later one with the same id."""
    return f"{MARKER}={cloud.folder}".encode() in _environment_of(pid)


def runs_this_code(cloud: Cloud, pid: int) -> bool:
    """Return whether a process of the cloud was started from this checkout."""
    return f"PYTHONPATH={cloud.environment()['PYTHONPATH']}".encode() in _environment_of(pid)


def marked(cloud: Cloud) -> list[int]:
    """Return all processes of the cloud: its services, their children, and the engines of its networks."""
    services = f"{MARKER}={cloud.folder}".encode()
    engines = f"CM_ENGINE={cloud.networks}/".encode()
    found = []
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        if pid != os.getpid() and any(row == services or row.startswith(engines) for row in _environment_of(pid)):
            found.append(pid)
    return found


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def end(pids: Iterable[int], *, grace: float = _GRACE) -> None:
    """Ask processes to end, all at once, and kill those that still run after `grace` seconds."""
    opened = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            opened.append(os.pidfd_open(pid))
    try:
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 30.0)):
            for descriptor in opened:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
            if _all_ended(opened, patience):
                return
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _all_ended(descriptors: Sequence[int], patience: float) -> bool:
    deadline, left = time.monotonic() + patience, set(descriptors)
    while left and time.monotonic() < deadline:
        ended, _, _ = select.select(left, [], [], max(0.0, deadline - time.monotonic()))
        left -= set(ended)
    return not left


def wait_for_port(cloud: Cloud, name: str, port: int, *, patience: float) -> None:
    """Wait until a service of the cloud accepts connections.

    Raises:
        DevcloudError: it ended, or it took longer than `patience` seconds; with the end of its log.

    """
    deadline = time.monotonic() + patience
    while not listens(cloud.address, port):
        if process_id(cloud, name) is None:
            raise DevcloudError(f"{name} has ended:\n{last_lines(cloud, name)}", f"look into {cloud.log}")
        if time.monotonic() > deadline:
            raise DevcloudError(f"{name} does not answer within {patience:.0f} s", f"look into {cloud.log}")
        time.sleep(_PAUSE)


def listens(address: str, port: int) -> bool:
    """Return whether anything accepts connections at a TCP port."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0


def last_lines(cloud: Cloud, name: str, count: int = 12) -> str:
    """Return the last lines that a program of the cloud has printed."""
    try:
        text = (cloud.log / f"{name}.out").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])


def memory_kib(pid: int) -> int:
    """Return the memory of a process in KiB, its share of what it shares included (PSS)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
