"""Remove plugins from a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cloudmesh_cluster.conda.settings import PLUGIN as CONDA
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps import plugins as plugin_steps
from cloudmesh_cluster.operations.steps.environments import remove_environments
from cloudmesh_cluster.operations.steps.wiring import wire_all
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.secret_settings import forget_secrets


def chosen_of(current: Session, names: Sequence[str]) -> list[ChosenPlugin]:
    """Return the named plugins of the cluster, all when none is named, those that others require first."""
    return [chosen for chosen in current.plugins if not names or chosen.plugin.name in names]


async def remove_plugins(current: Session, names: Sequence[str]) -> None:
    """Stop and uninstall plugins on all nodes, then forget them."""
    async with current.connections() as connections:
        for chosen in reversed(chosen_of(current, names)):
            if chosen.plugin.name == CONDA:
                await remove_environments(current, connections)
            await plugin_steps.uninstall(current, connections, chosen, nodes=current.cluster.nodes)
            forget_secrets(current.home, current.name, chosen.plugin.name)
    record = current.record
    kept = tuple(use for use in record.profile.plugins if use.name not in names)
    current.state.put_record(current.name, replace(record, profile=replace(record.profile, plugins=kept)))
    await wire_all(current)
