"""What plugins install that Debian has not, fetched once by the client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cloudmesh_cluster.home import Home
from cloudmesh_cluster.plugins import ChosenPlugin


def fetch(chosen: ChosenPlugin, home: Home, progress: Callable[[str], None]) -> Path | None:
    """Return the archive of a plugin's payload, None when it has none (fetching is being written)."""
    raise NotImplementedError
