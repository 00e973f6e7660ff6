"""What nodes refuse to who is none of them, as text; `tests/local/test_firewall.py` tries it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import InvalidInput
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import ListenTo, Node, PluginUse
from cloudmesh_cluster.plugins.firewall import firewall
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.reader import find_plugins, load_plugin
from cloudmesh_cluster.plugins.resolve import resolve

NODES = [Node("t-master", "master", 0, "running", "10.0.0.1"), Node("t-worker-1", "worker", 1, "running", "10.0.0.2")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an empty home."""
    return Home(tmp_path / "home", tmp_path / "cache")


def of(home: Home, *uses: PluginUse, default: ListenTo = "cluster") -> str:
    """Return the text for plugins on two nodes."""
    return firewall(resolve(uses, home), NODES, user="cm", default=default)


def test_ports_and_users_of_all_plugins_are_closed(home: Home) -> None:
    """Each port once, in order; those that only services use among themselves a second time."""
    assert of(home, PluginUse("zookeeper"), PluginUse("slurm")) == (
        "nodes 10.0.0.1 10.0.0.2\nlogin cm\nports 2181 2888 3888 6817 6818\ninner 2888 3888\n"
        "users munge slurm zookeeper\n"
    )


def test_a_port_that_a_setting_moves_is_closed_where_it_is(home: Home) -> None:
    """The number counts that the node serves."""
    assert "\nports 9999\n" in of(home, PluginUse("notebook", {"port": 9999}))


def test_nothing_is_refused_where_nothing_is_served(home: Home) -> None:
    """Without plugins, with one that has no ports, and where all may serve the network."""
    assert of(home) == ""
    assert of(home, PluginUse("conda")) == ""
    assert of(home, PluginUse("slurm"), default="network") == ""


def test_a_plugin_may_differ_from_the_profile(home: Home) -> None:
    """Its own setting wins, both ways."""
    slurm, dask = PluginUse("slurm", {"listen_to": "network"}), PluginUse("dask", {"listen_to": "cluster"})

    assert "6817" not in (text := of(home, slurm, PluginUse("dask")))
    assert "8786" in text
    assert "8786" in of(home, dask, PluginUse("slurm"), default="network")
    with pytest.raises(InvalidInput, match=r"'cluser' is unknown|listen_to"):
        of(home, PluginUse("slurm", {"listen_to": "cluser"}))


def test_every_plugin_names_the_users_of_its_services(home: Home) -> None:
    """A service of a user that the firewall does not know answers everybody on ports that nobody has written down."""

    def started_as(chosen: ChosenPlugin) -> set[str]:
        texts = [path.read_text() for path in chosen.plugin.folder.rglob("*.sh")]
        words = [line.split() for text in texts for line in text.splitlines() if "cm-service add" in line]
        named = {line[line.index("--user") + 1] for line in words if "--user" in line}
        return named | {word.partition("=")[2] for line in words for word in line if word.startswith("--reuid=")}

    for name, folder in find_plugins(home).items():
        plugin = load_plugin(folder)
        if plugin.ports:
            assert started_as(ChosenPlugin(plugin, {})) == set(plugin.users), name
