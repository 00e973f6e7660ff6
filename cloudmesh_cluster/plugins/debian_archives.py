"""Archives of Debian packages that a bundle has brought, for machines without a mirror in reach."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cloudmesh_cluster.core.home import Home

RELEASES = ("bookworm", "trixie")
"""The releases that packages are collected for, by their code names."""
CODENAME = '. /etc/os-release; printf %s "${VERSION_CODENAME:-}"'
"""The shell line that says on a node which release it is."""


def archive_file(home: Home, packages: Sequence[str], release: str) -> Path:
    """Return where the archive with some packages and what they need lies, if it is there."""
    key = hashlib.sha256("\n".join(sorted(set(packages))).encode()).hexdigest()[:16]
    return home.cache / "debs" / release / f"{key}.tar"


def collected(home: Home, packages: Sequence[str]) -> dict[str, Path]:
    """Return the archives with some packages that a bundle has brought, by release."""
    files = {release: archive_file(home, packages, release) for release in RELEASES}
    return {release: file for release, file in files.items() if file.exists()}
