"""Limits of nodes by cgroups, version 1 or 2, where this user may set them: memory, CPU, number of processes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_CONTROLLERS = frozenset({"memory", "cpu", "pids"})
_CPU_PERIOD = 100_000
_SHARE_OF_A_NODE = 8
_LEAST_PROCESSES = 2048
_TRIES = 100
_PAUSE = 0.02


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy: where, and how its limits are written."""

    root: Path
    version: int
    controllers: frozenset[str]


def hierarchies(mounts: str) -> list[Hierarchy]:
    """Return the hierarchies that can limit something, from the text of /proc/self/mounts."""
    found = []
    for line in mounts.splitlines():
        _, target, kind, options, *_ = line.split()
        wanted = _CONTROLLERS.intersection(options.split(","))
        if kind == "cgroup" and wanted:
            found.append(Hierarchy(Path(target), 1, frozenset(wanted)))
        elif kind == "cgroup2":
            found.append(Hierarchy(Path(target), 2, _CONTROLLERS))
    return found


def most_processes() -> int:
    """Return how many processes and threads a node may have: a part of what this machine can have at all."""
    files = (Path("/proc/sys/kernel", name) for name in ("threads-max", "pid_max"))
    return max(_LEAST_PROCESSES, min(int(file.read_text(encoding="utf-8")) for file in files) // _SHARE_OF_A_NODE)


def settings(hierarchy: Hierarchy, *, memory_mib: int | None, cpus: float | None) -> Mapping[str, str]:
    """Return what is written into which file of a node's cgroup."""
    files: dict[str, str] = {}
    if "pids" in hierarchy.controllers:
        files["pids.max"] = str(most_processes())
    if memory_mib is not None and "memory" in hierarchy.controllers:
        files["memory.limit_in_bytes" if hierarchy.version == 1 else "memory.max"] = str(memory_mib << 20)
    if cpus is not None and "cpu" in hierarchy.controllers:
        quota = max(1000, int(cpus * _CPU_PERIOD))
        if hierarchy.version == 1:
            files |= {"cpu.cfs_period_us": str(_CPU_PERIOD), "cpu.cfs_quota_us": str(quota)}
        else:
            files["cpu.max"] = f"{quota} {_CPU_PERIOD}"
    return files


class Limits:
    """The cgroups of the nodes of one cluster."""

    def __init__(self, folder: Path) -> None:
        self._prefix = f"cm-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}-"
        self._hierarchies = [*map(_as_it_is, hierarchies(Path("/proc/self/mounts").read_text(encoding="utf-8")))]

    def make(self, name: str, *, memory_mib: int | None, cpus: float | None) -> tuple[list[int], str | None]:
        """Make a node's cgroups; return open `cgroup.procs` files, and a warning when a limit can't be had."""
        opened: list[int] = []
        missing = {word for word, value in (("memory", memory_mib), ("cpu", cpus)) if value is not None}
        for hierarchy in self._hierarchies:
            files = settings(hierarchy, memory_mib=memory_mib, cpus=cpus)
            with contextlib.suppress(OSError):
                if files:
                    opened.append(self._make_one(hierarchy, name, files))
                    missing -= hierarchy.controllers
        if not missing:
            return opened, None
        return opened, f"no {' and '.join(sorted(missing))} limit for nodes: this user may not make cgroups here"

    def remove(self, name: str) -> None:
        """Remove a stopped node's cgroups."""
        for folder in self.existing():
            if folder.name == self._prefix + name:
                _remove_folder(folder)

    def existing(self) -> list[Path]:
        """Return the cgroups of this cluster's nodes that are there."""
        found = (hierarchy.root.glob(f"{self._prefix}*") for hierarchy in self._hierarchies)
        return sorted(path for paths in found for path in paths)

    def remove_all(self) -> None:
        """Remove the cgroups of all nodes, which have ended."""
        for folder in self.existing():
            _remove_folder(folder)

    def _make_one(self, hierarchy: Hierarchy, name: str, files: Mapping[str, str]) -> int:
        folder = hierarchy.root / (self._prefix + name)
        if hierarchy.version == 2:
            _delegate(hierarchy)
        folder.mkdir(exist_ok=True)
        for file, value in files.items():
            (folder / file).write_text(value, encoding="utf-8")
        return os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)


def _as_it_is(hierarchy: Hierarchy) -> Hierarchy:
    """Return a hierarchy of version 2 without the controllers that this kernel lacks or that version 1 has."""
    if hierarchy.version == 1:
        return hierarchy
    try:
        there = (hierarchy.root / "cgroup.controllers").read_text(encoding="utf-8").split()
    except OSError:
        there = []
    return replace(hierarchy, controllers=hierarchy.controllers.intersection(there))


def _delegate(hierarchy: Hierarchy) -> None:
    control = hierarchy.root / "cgroup.subtree_control"
    if missing := hierarchy.controllers.difference(control.read_text(encoding="utf-8").split()):
        control.write_text(" ".join(f"+{name}" for name in sorted(missing)), encoding="utf-8")


def _remove_folder(folder: Path) -> None:
    # A process that has just ended may count as a member for a moment.
    for _ in range(_TRIES):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_PAUSE)
