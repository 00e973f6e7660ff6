"""Which machines can reach the services of a cluster, as text for `cm-firewall` on the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudmesh_cluster.core.model import ListenTo, Node
from cloudmesh_cluster.plugins.model import LISTEN_TO, ChosenPlugin


def is_closed(chosen: ChosenPlugin, default: ListenTo) -> bool:
    """Return whether only the nodes of its cluster can reach a plugin.

    Args:
        chosen: the plugin, with its settings.
        default: the profile's `listen_to`, for plugins whose own setting is empty.

    """
    return bool(chosen.plugin.ports) and (chosen.settings.get(LISTEN_TO) or default) == "cluster"


def firewall(
    plugins: Iterable[ChosenPlugin], nodes: Sequence[Node], *, user: str, default: ListenTo = "cluster"
) -> str:
    """Return the description of a node's firewall that `cm-firewall` reads; empty when nothing is to be refused.

    Args:
        plugins: of the cluster, with their settings.
        nodes: of the cluster.
        user: the login user, who can connect to the inner ports.
        default: the profile's `listen_to`, for plugins whose own setting is empty.

    """
    closed = [each for each in plugins if is_closed(each, default)]
    if not closed:
        return ""
    ports = [port for each in closed for port in each.plugin.ports]
    words: dict[str, Sequence[str | int]] = {
        "nodes": [node.private_ip for node in nodes],
        "login": [user],
        "ports": sorted({port.number for port in ports}),
        "inner": sorted({port.number for port in ports if port.inner}),
        "users": sorted({user for each in closed for user in each.plugin.users}),
    }
    return "".join(f"{word} {' '.join(map(str, values))}\n" for word, values in words.items() if values)
