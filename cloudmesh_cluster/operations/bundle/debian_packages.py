"""Collect Debian packages with all that they need, for machines without a mirror in reach."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import make_private
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.plugins.debian_archives import archive_file

Progress = Callable[[str], None]


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
