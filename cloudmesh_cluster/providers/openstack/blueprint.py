"""What Heat is asked to build: from the nodes of a boot and the settings to a template and its parameters."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.providers.base import Boot, NodeBoot
from cloudmesh_cluster.providers.openstack import template
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.networks import subnet_of
from cloudmesh_cluster.providers.openstack.settings import Settings


def has_floating_ip(settings: Settings, node: Node) -> bool:
    """Return whether a node gets a floating IP."""
    return settings.floating_ip == "all" or (settings.floating_ip == "master" and node.index == 0)


def stack_of(cloud: Cloud, settings: Settings, boot: Boot) -> template.Stack:
    """Return what the stack of a boot is made of."""
    return template.Stack(
        marks=Marks(boot.cluster, boot.cluster_id),
        operation=boot.operation,
        servers=[
            template.Server(
                name=each.node.name,
                short_name=each.node.short_name,
                role=each.node.role,
                index=each.node.index,
                address=each.node.private_ip,
                image=each.spec.image or settings.image or "",
                flavor=each.spec.flavor or settings.flavor or "",
                floating_ip=has_floating_ip(settings, each.node),
                login=has_floating_ip(settings, each.node) or settings.floating_ip == "none",
                root_disk=settings.root_disk,
                volumes=each.spec.volumes,
            )
            for each in boot.nodes
        ],
        ssh_from=settings.ssh_from or cloud.own_address(),
        cidr="" if settings.network else boot.network,
        network=settings.network or "",
        subnet=str(subnet_of(cloud, settings.network, settings.subnet).id) if settings.network else "",
        external_network=settings.external_network or _external_network(cloud, settings),
        dns=settings.dns.split(),
        availability_zone=settings.availability_zone or "",
        anti_affinity=settings.anti_affinity == "yes",
        propagates=boot.propagates,
        signal=settings.signal == "heat" and boot.propagates,
        tells_host_keys=settings.host_keys == "handle",
        description=boot.description,
        additions=boot.additions,
    )


def with_ids(cloud: Cloud, stack: template.Stack) -> template.Stack:
    """Return a stack that names what it needs by ids: a name may mean another thing tomorrow, or nothing."""
    sdk = cloud.sdk
    image, flavor, network = _ids(sdk.image.find_image), _ids(sdk.compute.find_flavor), _ids(sdk.network.find_network)
    return replace(
        stack,
        servers=[replace(each, image=image(each.image), flavor=flavor(each.flavor)) for each in stack.servers],
        network=network(stack.network),
        external_network=network(stack.external_network),
    )


def _ids(find: Callable[[str], Any]) -> Callable[[str], str]:
    """Return what finds the id of something by its name; what is not there keeps its name, for Heat to complain of."""

    @functools.cache
    def identity(name: str) -> str:
        return str(found.id) if name and (found := find(name)) is not None else name

    return identity


def _external_network(cloud: Cloud, settings: Settings) -> str:
    """Return the only external network there is; preflight has said when there are none or several."""
    if settings.floating_ip == "none" and settings.network:
        return ""
    return next((str(network.name) for network in cloud.sdk.network.networks(is_router_external=True)), "")


def parameters_of(boot: Boot) -> dict[str, str]:
    """Return the parameters of a boot's stack; nothing but the hidden one holds a private key."""
    key = base64.b64encode(boot.bootstrap_private_key).decode("ascii")
    last = boot.nodes[-1].user_data.decode("ascii") if boot.propagates else ""
    common = boot.nodes[:-1] if boot.propagates else boot.nodes
    return {
        "login_public_key": boot.login_public_key,
        "bootstrap_private_key": key if boot.propagates else "",
        "user_data": _common_user_data(common[0]) if common else "",
        "last_user_data": last.replace(key, template.BOOTSTRAP_PRIVATE_KEY),
    }


def _common_user_data(first: NodeBoot) -> str:
    """Return what all nodes but the last are told, from what one of them is told."""
    node = first.node
    return template.common_user_data(
        first.user_data.decode("ascii"), name=node.name, short_name=node.short_name, address=node.private_ip
    )
