"""Plugins that require others, when they come to a cluster and leave it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.events import silent
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import PluginUse
from cloudmesh_cluster.operations import services
from cloudmesh_cluster.plugins.reader import find_plugins
from cloudmesh_cluster.state.store import State
from tests.support.journalled import add_cluster


@pytest.fixture
def base_and_top(tmp_path: Path) -> Home:
    """Return a home with a plugin `top` that requires `base`, and a cluster `t` without plugins."""
    home = Home(tmp_path / "home", tmp_path / "cache")
    home.make()
    for name, lines in (("base", ""), ("top", "requires: [base]\n"), ("no name", "")):
        folder = home.plugins / name
        folder.mkdir(parents=True)
        (folder / "plugin.yaml").write_text(f"description: a plugin\n{lines}")
    add_cluster(home, "t", workers=1)
    return home


def use(home: Home, *names: str) -> None:
    """Write down that the cluster has plugins."""
    from dataclasses import replace

    with State(home) as state:
        record = state.record("t")
        plugins = tuple(PluginUse(name) for name in names)
        state.put_record("t", replace(record, profile=replace(record.profile, plugins=plugins)))


def test_what_is_required_is_installed_first(base_and_top: Home) -> None:
    """A plugin brings those that it requires and the cluster has not."""
    with State(base_and_top) as state:
        assert services._with_required(base_and_top, state, "t", ["top"]) == ("base", "top")

    use(base_and_top, "base")
    with State(base_and_top) as state:
        assert services._with_required(base_and_top, state, "t", ["top"]) == ("top",)


def test_what_is_required_stays(base_and_top: Home) -> None:
    """A plugin that another one needs is not uninstalled; the error says what needs it."""
    use(base_and_top, "base", "top")
    with pytest.raises(UsageError, match="top requires base"):
        asyncio.run(services.uninstall(base_and_top, "t", ["base"], silent))


def test_a_folder_that_has_no_plugin_name_is_none(base_and_top: Home) -> None:
    """Folder names get into paths on nodes, so only names of plugins count."""
    assert {"base", "top"} <= set(find_plugins(base_and_top))
    assert "no name" not in find_plugins(base_and_top)
