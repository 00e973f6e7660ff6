"""Debian packages with all that they need, for machines without a mirror in reach: collected here, installed there."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import make_private
from cloudmesh_cluster.core.home import Home

RELEASES = ("bookworm", "trixie")
"""The releases that packages are collected for, by their code names."""
CODENAME = '. /etc/os-release; printf %s "${VERSION_CODENAME:-}"'
"""The shell line that says on a node which release it is."""
Progress = Callable[[str], None]


def archive_file(home: Home, packages: Sequence[str], release: str) -> Path:
    """Return where the archive with some packages and what they need lies, if it is there."""
    key = hashlib.sha256("\n".join(sorted(set(packages))).encode()).hexdigest()[:16]
    return home.cache / "debs" / release / f"{key}.tar"


def collected(home: Home, packages: Sequence[str]) -> dict[str, Path]:
    """Return the archives with some packages that a bundle has brought, by release."""
    files = {release: archive_file(home, packages, release) for release in RELEASES}
    return {release: file for release, file in files.items() if file.exists()}


def collect(home: Home, packages: Sequence[str], release: str, progress: Progress) -> Path:
    """Fetch packages and everything that they need, down to the C library, as an archive that apt can install from.

    apt fetches them, and checks the signatures, within the image of local nodes, so that any Linux will do.

    Args:
        home: whose cache.
        packages: their names.
        release: the code name of the release, one of `RELEASES`.
        progress: told in single lines what goes on.

    Raises:
        UsageError: there is no such image and none can be made, or a package can't be had.

    """
    from cloudmesh_cluster.providers.local.engine import images
    from cloudmesh_cluster.providers.local.engine.errors import EngineError
    from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user

    try:
        ids = ids_of_this_user()
        base = images.ensure_base(home.cache, ids=ids, progress=progress)
        folder = images.ensure_debs(home.cache, base, packages, release=release, ids=ids, progress=progress)
    except EngineError as error:
        raise UsageError(f"Debian packages can't be collected: {error.message}", hint=error.hint) from error
    target = archive_file(home, packages, release)
    make_private(target.parent)
    temporary = target.with_suffix(".part")
    with tarfile.open(temporary, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    temporary.replace(target)
    # The next bundle is to have the packages of its own day.
    images.remove_folder(images.images_folder(home.cache), folder.parents[1], ids=ids)
    return target
