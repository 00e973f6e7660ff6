"""What a cluster leaves on this machine while it exists: counted before and after, the numbers must be equal."""

from __future__ import annotations

import os
from pathlib import Path


def traces(home: Path) -> dict[str, list[str]]:
    """Return what belongs to the clusters of a home: processes, mounts, links, control groups, files but logs."""
    return {
        "processes": _processes(home),
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(home) in line],
        "links": sorted(os.listdir("/sys/class/net")),
        "groups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/cm*")),
        "files": sorted(
            str(path)
            for path in (home / "clusters").rglob("*")
            if path.name != "logs" and "logs" not in path.parts and not _holds_only_logs(path)
        ),
    }


def _processes(home: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or entry.name == str(os.getpid()):
            continue
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(home) in text:
            found.append(text.decode(errors="replace"))
    return found


def _holds_only_logs(path: Path) -> bool:
    return path.is_dir() and [child.name for child in path.iterdir()] == ["logs"]
