"""What a cluster leaves on this machine while it exists: counted before and after, the numbers must be equal."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

ENGINE_LINK = re.compile(r"br0|node\d+|tap\d+")


def traces(home: Path) -> dict[str, list[str]]:
    """Return what belongs to the clusters of a home: processes, mounts, links, control groups, files but logs.

    A node's processes say nothing of its home in their environment; their mounts do.
    """
    return {
        "processes": _processes(home),
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(home) in line],
        "links": sorted(name for name in os.listdir("/sys/class/net") if ENGINE_LINK.fullmatch(name)),
        "groups": _groups(home),
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
            said = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            mounts = (entry / "mountinfo").read_bytes()
        except OSError:
            continue
        if os.fsencode(home) in said or os.fsencode(f"{home.name}/clusters/") in mounts:
            found.append(f"{entry.name}: {said.decode(errors='replace')}")
    return found


def _groups(home: Path) -> list[str]:
    """Return the control groups of the clusters of a home, which the engine names by a digest of its folder."""
    names = [lock.stem for lock in (home / "locks").glob("*.lock")]
    folders = [str(home / "clusters" / name / "engine") for name in names]
    digests = [hashlib.sha256(folder.encode()).hexdigest()[:12] for folder in folders]
    return sorted(
        str(path)
        for pattern in ("cm/*", "*/cm/*")
        for path in Path("/sys/fs/cgroup").glob(pattern)
        if path.name.startswith(tuple(digests))
    )


def _holds_only_logs(path: Path) -> bool:
    return path.is_dir() and [child.name for child in path.iterdir()] == ["logs"]
