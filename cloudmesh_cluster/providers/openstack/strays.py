"""What was made for a stack and Heat knows nothing of: its engine died between the making and the writing down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.found import PREFIX
from cloudmesh_cluster.providers.openstack.orphans import Orphan, marked, remove


def remove_strays(cloud: Cloud, name: str, stack: Any | None) -> None:
    """Delete what Heat has made for a stack and forgotten: it would be left, or be in the way of making it again.

    What can't be deleted stays: whoever looks for remains will find it.

    Args:
        cloud: where the stack is.
        name: the stack's.
        stack: the stack; None when there is none any more.

    """
    from openstack.exceptions import SDKException

    for stray in strays(cloud, stack) if stack else _ours(cloud, name):
        with suppress(SDKException):
            remove(cloud, stray)


def detach_router(cloud: Cloud, stack: Any) -> None:
    """Take a stack's router off its networks: an attachment that Heat has forgotten keeps both from being deleted."""
    from openstack.exceptions import SDKException

    network = cloud.sdk.network
    for router in network.routers(name=stack.stack_name, tags="cm", **cloud.own):
        for port in network.ports(device_id=router.id, device_owner="network:router_interface"):
            # One that floating IPs need is known to Heat: it stays until they are gone.
            with suppress(SDKException):
                network.remove_interface_from_router(router, port_id=port.id)


def strays(cloud: Cloud, stack: Any) -> list[Orphan]:
    """Return what is of a stack and not among its resources, in an order in which it can be deleted."""
    known = {each.physical_resource_id for each in cloud.heat.resources.list(stack.stack_name)}
    found = chain(_untagged(cloud, stack), _ours(cloud, stack.stack_name))
    return [each for each in found if each.id not in known]


def _ours(cloud: Cloud, name: str) -> Iterator[Orphan]:
    """Yield what bears the marks of a stack's cluster."""
    return (each for each in marked(cloud) if each.cluster == name.removeprefix(PREFIX))


def _untagged(cloud: Cloud, stack: Any) -> Iterator[Orphan]:
    """Yield what has the stack's names, is younger than it, and has no tags yet: they come by a second request."""
    network, own, cluster = cloud.sdk.network, cloud.own, stack.stack_name.removeprefix(PREFIX)
    node = re.compile(re.escape(cluster) + r"-(master|worker-\d+)")
    for kind, listed in (
        ("port", (each for each in network.ports(**own) if node.fullmatch(each.name or ""))),
        ("router", network.routers(name=stack.stack_name, **own)),
        ("network", network.networks(name=stack.stack_name, **own)),
    ):
        for each in listed:
            if not each.tags and (each.created_at or "") >= stack.creation_time:
                yield Orphan(kind, each.id, cluster)
