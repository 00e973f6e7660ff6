"""What tests of schedulers and workers need: ports, processes of other interpreters, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudmesh_cluster.cluster_setup.address import free_port
from tests.support.command_line import CommandLine

ROOT = Path(__file__).resolve().parents[2]
MARK = "CM_TEST_SCHEDULERS"  # in the environment of all that a test starts, so that what is left can be found


@contextmanager
def nothing_left(mark: str) -> Iterator[None]:
    """Fail when a process that began inside is still there some time after it; what is there is killed."""
    before, os.environ[MARK] = os.environ.get(MARK), mark
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before
        left = wait_for(lambda: not marked(mark), seconds=30) or marked(mark)
        for pid in [] if left is True else left:
            os.kill(pid, signal.SIGKILL)
    assert left is True, f"left: {left}"


def marked(mark: str) -> dict[int, str]:
    """Return the processes with this mark in their environment, but for this one: their command lines by pid."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes().split(b"\0")
            if f"{MARK}={mark}".encode() in environ and int(folder.name) != os.getpid():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
    return found


def wait_for(true: Callable[[], bool], *, seconds: float = 90.0) -> bool:
    """Return whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def listens(port: int) -> bool:
    """Return whether a socket of this machine listens on a port."""
    tables = [Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [row.split() for table in tables for row in table]
    return any(int(row[1].rpartition(":")[2], 16) == port and row[3] == "0A" for row in rows)


def any_address(host: str = "127.0.0.1") -> tuple[str, int]:
    """Return an address of this machine that is free, and its port."""
    port = free_port(host)
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), port


@contextmanager
def interpreter(code: str) -> Iterator[subprocess.Popen[str]]:
    """Run code in a Python of its own, as if typed in a terminal of its own; killed at the end if it still runs."""
    head = "from cloudmesh_cluster.cluster_setup import dask, spark\n"
    process = subprocess.Popen(
        [sys.executable, "-c", head + code], stdout=subprocess.PIPE, text=True, start_new_session=True,
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def serving(cm: CommandLine, *words: str) -> Iterator[None]:
    """Run a line of `cm` that starts a scheduler or worker, until the end; it serves, and then Ctrl-C is pressed."""
    environ = cm.environment() | {MARK: os.environ[MARK]}
    with subprocess.Popen(cm.argv(*words), env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("Ctrl-C stops it" in line for line in process.stderr)
            yield
        finally:
            process.send_signal(signal.SIGINT)
