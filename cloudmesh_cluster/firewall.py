"""Who may reach the services of a cluster: the text that each node's `cm-firewall` makes its table of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudmesh_cluster.model import ListenTo, Node
from cloudmesh_cluster.plugins import LISTEN_TO, ChosenPlugin


def is_closed(chosen: ChosenPlugin, default: ListenTo) -> bool:
    """Return whether a plugin serves the nodes of its cluster only.

    Args:
        chosen: the plugin, with its settings.
        default: what the profile says, for a plugin whose own setting says nothing.

    """
    return bool(chosen.plugin.ports) and (chosen.settings.get(LISTEN_TO) or default) == "cluster"


def firewall(
    plugins: Iterable[ChosenPlugin], nodes: Sequence[Node], *, user: str, default: ListenTo = "cluster"
) -> str:
    """Return what nodes refuse to others, as `cm-firewall` reads it; empty when nothing is to be refused.

    Args:
        plugins: of the cluster, with their settings.
        nodes: of the cluster.
        user: the login user, who reaches whatever services reach among themselves.
        default: what the profile says, for a plugin whose own setting says nothing.

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
