"""What a cloud has of a cluster: the proof that nothing is left asks this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudmesh_cluster.errors import ProviderError
from cloudmesh_cluster.model import Leftover
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.explained import in_words
from cloudmesh_cluster.template import tags

if TYPE_CHECKING:
    from cloudmesh_cluster.providers.openstack.stack import Stack


def remains(cloud: Cloud, cluster: str, stack: Stack) -> list[Leftover]:
    """Return everything that bears the cluster's name or tags, with the command that removes it."""
    network, tag, own = cloud.sdk.network, tags(cluster)[1], cloud.own
    found = [("stack", stack.name, f"openstack stack delete {stack.name}")] if _may_be_there(stack) else []
    found += [("server", each.id, f"openstack server delete {each.id}") for each in cloud.servers(cluster)]
    for kind, listed in (
        ("floating ip", [each for each in network.ips(**own) if each.description == tag]),
        ("port", network.ports(tags=tag, **own)),
        ("router", network.routers(tags=tag, **own)),
        ("network", network.networks(tags=tag, **own)),
    ):
        found += [(kind, each.id, f"openstack {kind} delete {each.id}") for each in listed]
    for group in network.security_groups(**own):
        if group.name in (stack.name, f"{stack.name}-login"):
            found.append(("security group", group.id, f"openstack security group delete {group.id}"))
    if cloud.sdk.compute.find_keypair(stack.name):
        found.append(("keypair", stack.name, f"openstack keypair delete {stack.name}"))
    for volume in cloud.volumes():
        if volume.metadata.get("cm_cluster") == cluster:
            found.append(("volume", volume.id, f"openstack volume delete {volume.id}"))
    return [Leftover(*each) for each in found]


def _may_be_there(stack: Stack) -> bool:
    """Return whether there is a stack; as long as Heat does not say, there may be."""
    try:
        with in_words():
            return stack.find() is not None
    except ProviderError:
        return True
