"""What was made for a stack and Heat knows nothing of: its engine died between the making and the writing down.

It is known by the cluster's mark, which was in the very request that made it. A name, an age or the lack of tags prove
nothing: others use the same names.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.orphans import Orphan, marked, remove


def remove_strays(cloud: Cloud, marks: Marks, stack: Any | None) -> None:
    """Delete what Heat has made for a stack and forgotten: it would be left, or be in the way of making it again.

    What can't be deleted stays: whoever looks for remains will find it.

    Args:
        cloud: where the stack is.
        marks: of the cluster.
        stack: the cluster's own stack; None when there is none any more.

    """
    from openstack.exceptions import SDKException

    for stray in strays(cloud, marks, stack):
        with suppress(SDKException):
            remove(cloud, stray)


def detach_router(cloud: Cloud, marks: Marks) -> None:
    """Take a stack's router off its networks: an attachment that Heat has forgotten keeps both from being deleted."""
    from openstack.exceptions import SDKException

    network = cloud.sdk.network
    for router in (each.id for each in marked(cloud, marks) if each.kind == "router"):
        for port in network.ports(device_id=router, device_owner="network:router_interface"):
            # One that floating IPs need is known to Heat: it stays until they are gone.
            with suppress(SDKException):
                network.remove_interface_from_router(router, port_id=port.id)


def strays(cloud: Cloud, marks: Marks, stack: Any | None) -> list[Orphan]:
    """Return what is of a cluster and not among its stack's resources, in an order in which it can be deleted."""
    resources = cloud.heat.resources.list(stack.id) if stack is not None else ()
    known = {each.physical_resource_id for each in resources}
    return [each for each in marked(cloud, marks) if each.id not in known]
