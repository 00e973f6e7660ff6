"""What a project may still have, and what nodes need of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudmesh_cluster.core.model import Node, Problem, RoleSpec
from cloudmesh_cluster.providers.base import Room
from cloudmesh_cluster.providers.openstack.blueprint import has_floating_ip
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.settings import Settings

Need = tuple[str, int, int | None, int]
"""What it is, how many are needed, the limit (None or -1: there is none), how many are used."""


def problems(
    cloud: Cloud,
    settings: Settings,
    nodes: Sequence[Node],
    flavors: Mapping[str, Any],
    specs: Mapping[str, RoleSpec],
    *,
    grows: bool,
) -> Iterator[Problem]:
    """Yield each quota that does not suffice.

    Args:
        cloud: the project's.
        settings: the provider's.
        nodes: those to make.
        flavors: of each role, as far as there are such flavors.
        specs: what the profile says of each role.
        grows: whether the cluster, with all that it has once, is there already.

    """
    for what, count, limit, used in _needs(cloud, settings, nodes, flavors, specs, grows=grows):
        if limit is not None and limit >= 0 and count and used + count > limit:
            yield Problem(
                "quota",
                f"{count} {what} are needed, {max(limit - used, 0)} of {limit} are left",
                "free some, or ask for more: openstack quota show",
            )


def room(
    cloud: Cloud,
    settings: Settings,
    nodes: Sequence[Node],
    flavors: Mapping[str, Any],
    specs: Mapping[str, RoleSpec],
) -> tuple[Room, ...]:
    """Return of everything that has a limit how much a new cluster needs, and how much is left."""
    return tuple(
        Room(what, count, max(limit - used, 0))
        for what, count, limit, used in _needs(cloud, settings, nodes, flavors, specs, grows=False)
        if limit is not None and limit >= 0 and count
    )


def _needs(
    cloud: Cloud,
    settings: Settings,
    nodes: Sequence[Node],
    flavors: Mapping[str, Any],
    specs: Mapping[str, RoleSpec],
    *,
    grows: bool,
) -> Iterator[Need]:
    yield from _of_nova(cloud, settings, nodes, flavors, grows=grows)
    yield from _of_neutron(cloud, settings, nodes, grows=grows)
    yield from _of_cinder(cloud, settings, nodes, specs)


def _of_nova(
    cloud: Cloud, settings: Settings, nodes: Sequence[Node], flavors: Mapping[str, Any], *, grows: bool
) -> Iterator[Need]:
    limits = cloud.sdk.compute.get_limits().absolute
    known = [flavors[node.role] for node in nodes if node.role in flavors]
    yield "instances", len(nodes), limits.instances, limits.instances_used
    yield "cores", sum(flavor.vcpus for flavor in known), limits.total_cores, limits.total_cores_used
    yield "MiB of RAM", sum(flavor.ram for flavor in known), limits.total_ram, limits.total_ram_used
    if not grows:
        yield "keypairs", 1, limits.keypairs, len(list(cloud.sdk.compute.keypairs()))
        groups = 1 if settings.anti_affinity == "yes" else 0
        yield "server groups", groups, limits.server_groups, limits.server_groups_used


def _of_neutron(cloud: Cloud, settings: Settings, nodes: Sequence[Node], *, grows: bool) -> Iterator[Need]:
    quota = cloud.sdk.network.get_quota(cloud.sdk.current_project_id, details=True)
    own = int(settings.network is None and not grows)
    groups = 0 if grows else 2
    for what, count, row in (
        ("ports", len(nodes) + own, quota.ports),
        ("floating IPs", sum(has_floating_ip(settings, node) for node in nodes), quota.floating_ips),
        ("security groups", groups, quota.security_groups),
        # Each group is made with two rules by which everything may leave.
        ("security group rules", 3 * groups, quota.security_group_rules),
        ("networks", own, quota.networks),
        ("subnets", own, quota.subnets),
        ("routers", own, quota.routers),
    ):
        yield what, count, row["limit"], row["used"]


def _of_cinder(
    cloud: Cloud, settings: Settings, nodes: Sequence[Node], specs: Mapping[str, RoleSpec]
) -> Iterator[Need]:
    sizes = [volume.size for node in nodes for volume in specs[node.role].volumes]
    sizes += [settings.root_disk for _ in nodes if settings.root_disk]
    if not sizes:
        return
    limits = cloud.sdk.block_storage.get_limits().absolute
    yield "volumes", len(sizes), limits.max_total_volumes, limits.total_volumes_used
    yield "GiB of volumes", sum(sizes), limits.max_total_volume_gigabytes, limits.total_gigabytes_used
