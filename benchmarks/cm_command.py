"""`cm` with a home of its own for a benchmark, and the proof that nothing of it is left."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured import BenchmarkFailed, Run, run
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.providers.local.engine.engine import Engine
from cloudmesh_cluster.providers.local.engine.limits import Limits

ROOT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class NodeFacts:
    """What a local node did so far.

    Args:
        born: when its first process began, in seconds since the epoch.
        booted: when its cloud-init ended.
        cpu: CPU seconds of its first boot.

    """

    born: float
    booted: float
    cpu: float


@dataclass(frozen=True)
class Cm:
    """Runs `cm` with a home of its own.

    Args:
        words: the program.
        home: its CM_HOME.
        cache: its CM_CACHE.

    """

    words: tuple[str, ...]
    home: Path
    cache: Path

    def __call__(self, *words: str, expect: int = 0, timeout: float = 600.0) -> Run:
        """Run `cm WORDS...` to its end."""
        return run([*self.words, *words], env=self.environment(), expect=expect, timeout=timeout)

    def environment(self) -> dict[str, str]:
        """Return the environment: the caller's, with the home of the benchmark."""
        path = f"{ROOT}:{os.environ['PYTHONPATH']}" if os.environ.get("PYTHONPATH") else str(ROOT)
        return {**os.environ, "CM_HOME": str(self.home), "CM_CACHE": str(self.cache), "PYTHONPATH": path}

    def engine_folder(self, cluster: str) -> Path:
        """Return where the node engine of a cluster lives."""
        return Home(self.home, self.cache).cluster(cluster) / "engine"

    def node_facts(self, cluster: str) -> list[NodeFacts]:
        """Return what each running node did so far, as this machine's kernel saw it."""
        running = Engine(self.engine_folder(cluster), self.cache / "images").running()
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return [_facts(pid, time.time() - uptime) for pid in running.values()]

    def left(self) -> list[str]:
        """Return what there still is of the clusters of this home: processes, mounts, control groups, files."""
        clusters = self.home / "clusters"
        folders = list(clusters.iterdir()) if clusters.is_dir() else []
        files = [
            path for folder in folders for path in folder.rglob("*") if "logs" not in path.relative_to(folder).parts
        ]
        mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.home) in line]
        groups = [path for folder in folders for path in Limits(self.engine_folder(folder.name)).existing()]
        return [*(f"process {pid}" for pid in _processes_of(self.home)), *mounts, *map(str, [*groups, *files])]


def _facts(pid: int, machine_started: float) -> NodeFacts:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    # A node's first process waits for its boot and for nothing after it, so the times of its children are the boot's.
    boot = (int(fields[13]) + int(fields[14])) / TICKS
    ended = Path(f"/proc/{pid}/root/run/cloud-init/result.json").stat().st_mtime
    return NodeFacts(machine_started + int(fields[19]) / TICKS, ended, boot)


def _processes_of(home: Path) -> list[int]:
    found, word = [], os.fsencode(home)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended, or is not ours
            if word in text:
                found.append(int(entry.name))
    return found


def add_options(parser: ArgumentParser) -> None:
    """Add the options that every benchmark has."""
    parser.add_argument("--cores", type=int, default=2, metavar="N", help="use the first N cores of this machine (2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures into a file, too")
    parser.add_argument(
        "--cm", metavar="COMMAND", default=shlex.join([sys.executable, "-m", "cloudmesh_cluster"]),
        help="the cm to measure (default: the one of this tree)",
    )  # fmt: skip


@contextmanager
def temporary_cm(command: str) -> Iterator[Cm]:
    """Yield `cm` with a fresh home; at the end delete its clusters and prove that nothing is left.

    Raises:
        BenchmarkFailed: something is left.

    """
    cache = Home.from_environment(os.environ).cache
    home = Path(tempfile.mkdtemp(prefix="cm-bench-"))
    cm = Cm(tuple(shlex.split(command)), home, cache)
    try:
        yield cm
    finally:
        for cluster in cm("cluster", "list", "-f", "value", "-c", "name").stdout.split():
            cm("cluster", "delete", cluster, "-y")
        left = cm.left()
        if not left:
            shutil.rmtree(home)
    if left:
        raise BenchmarkFailed("left behind:\n" + "\n".join(left))
