"""Tests of what only the nodes of one cluster may know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cloudmesh_cluster.home import Home
from cloudmesh_cluster.plugin_secrets import secret_files
from cloudmesh_cluster.plugins import load_plugin
from cloudmesh_cluster.resources import resource


def test_secrets_are_made_once_for_each_cluster_and_private(tmp_path: Path) -> None:
    """Nodes added later get the same; another cluster has its own; nobody else reads them here or on a node."""
    home = Home(tmp_path, tmp_path)
    plugin = replace(load_plugin(resource("scripts", "dask")), secrets=("munge.key",))
    first, again, other = (secret_files(home, cluster, plugin) for cluster in ("a", "a", "b"))

    assert first == again
    assert first.keys() == other.keys() == {"secrets/munge.key"}
    assert first != other
    content, mode = first["secrets/munge.key"]
    assert (len(content), mode) == (129, 0o600)
    (kept,) = home.secrets("a", "dask").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
