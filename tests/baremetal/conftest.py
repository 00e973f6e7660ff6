"""Machines for the tests of this folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from tests.support.machines import Machines, machines


@pytest.fixture(scope="session")
def layers(cm_cache: Path) -> tuple[Path, ...]:
    """Return the layers of the base image, built when they are not in the cache."""
    return images.ensure_base(cm_cache, ids=ids_of_this_user())


@pytest.fixture(scope="module")
def four(cm_cache: Path, layers: tuple[Path, ...]) -> Iterator[Machines]:
    """Return four machines that the user of `cm` knows."""
    folder = Path(tempfile.mkdtemp(prefix="cm-metal-"))
    with machines(folder, cm_cache / "images", layers, [1, 2, 3, 4]) as made:
        made.introduce()
        yield made
    shutil.rmtree(folder)
