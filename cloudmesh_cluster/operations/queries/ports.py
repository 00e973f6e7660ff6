"""What a plugin of a cluster serves, and how it is set."""

from __future__ import annotations

from cloudmesh_cluster.core.errors import NotFound, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.state.store import State


def port_of(home: Home, name: str, plugin: str, port: str) -> int:
    """Return the number of a port of a plugin.

    Args:
        home: whose cluster.
        name: the cluster's.
        plugin: the plugin.
        port: what the plugin calls it.

    Raises:
        NotFound: there is no such cluster, or the plugin isn't on it.
        UsageError: the settings of the plugin have switched it off.

    """
    chosen = plugin_of(home, name, plugin)
    found = next(each for each in chosen.plugin.ports if each.name == port)
    if not chosen.serves(found):
        raise UsageError(f"{plugin} on {name!r} does not serve {port}", hint=f"its setting {found.when} is off")
    return found.number


def plugin_of(home: Home, name: str, plugin: str) -> ChosenPlugin:
    """Return a plugin of a cluster with its settings.

    Raises:
        NotFound: there is no such cluster, or the plugin isn't on it.

    """
    with State(home) as state:
        present = {chosen.plugin.name: chosen for chosen in resolve(state.record(name).profile.plugins, home)}
    if plugin not in present:
        raise NotFound("plugin on the cluster", plugin, sorted(present), hint=f"cm cluster install {name} {plugin}")
    return present[plugin]
