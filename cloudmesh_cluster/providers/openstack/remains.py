"""What a cloud has of a cluster: the proof that nothing is left asks this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudmesh_cluster.core.errors import ProviderError
from cloudmesh_cluster.core.model import Leftover
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.explained import in_words
from cloudmesh_cluster.providers.openstack.orphans import marked

if TYPE_CHECKING:
    from cloudmesh_cluster.providers.openstack.stack import Stack


def remains(cloud: Cloud, stack: Stack) -> list[Leftover]:
    """Return everything that has the cluster's marks, with the command that removes it."""
    found = [("stack", stack.name, f"openstack stack delete {stack.name}")] if _may_be_there(stack) else []
    found += [(each.kind, each.id, f"openstack {each.kind} delete {each.id}") for each in marked(cloud, stack.marks)]
    return [Leftover(*each) for each in found]


def _may_be_there(stack: Stack) -> bool:
    """Return whether there is a stack; as long as Heat does not say, there may be."""
    try:
        with in_words():
            return stack.find() is not None
    except ProviderError:
        return True
