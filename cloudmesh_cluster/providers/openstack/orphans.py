"""What has our marks in a project: of one cluster, or of clusters that nobody here knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from cloudmesh_cluster.core.marks import PREFIX, Marks, in_keypair, in_metadata, in_name, in_tags, in_text
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.found import list_clusters
from cloudmesh_cluster.providers.openstack.stack import Stack

GROUP_MARKS = ("everything between the nodes of the cluster", "SSH from where the cluster was made")
"""How the descriptions of security groups begin; versions without ids wrote nothing more."""
KINDS = {
    "server": ("compute", "server"),
    "server group": ("compute", "server_group"),
    "volume": ("block_storage", "volume"),
    "floating ip": ("network", "ip"),
    "port": ("network", "port"),
    "router": ("network", "router"),
    "network": ("network", "network"),
    "security group": ("network", "security_group"),
    "keypair": ("compute", "keypair"),
}
"""The service of each kind, and what openstacksdk calls it there."""


@dataclass(frozen=True)
class Orphan:
    """Something in the cloud, with the marks of the cluster that it was made for."""

    kind: str
    id: str
    marks: Marks


def orphans(cloud: Cloud, known: Collection[Marks]) -> list[Orphan]:
    """Return the stacks of unknown clusters, and what is left of clusters that have no stack any more.

    Args:
        cloud: the project to look through.
        known: the clusters that are somebody's here.

    """
    stacks = {Marks(each.name, each.cluster_id) for each in list_clusters(cloud)}
    unknown = sorted(stacks - set(known), key=lambda marks: marks.stack)
    found = [Orphan("stack", marks.stack, marks) for marks in unknown]
    # What a stack has made goes with it; heat.stacks.list knows no stack without our tags, so each is asked for.
    owned = stacks | set(known)
    loose = [each for each in marked(cloud) if each.marks not in owned]
    untagged = {marks for marks in {each.marks for each in loose} if Stack(cloud, marks).find() is not None}
    return found + [each for each in loose if each.marks not in untagged]


def marked(cloud: Cloud, wanted: Marks | None = None) -> Iterator[Orphan]:
    """Yield everything but stacks that has a mark of ours, in an order in which it can be deleted.

    Args:
        cloud: the project to look through.
        wanted: the marks of one cluster; None for all.

    """
    for kind, identity, marks in _all(cloud, wanted):
        if marks is not None and wanted in (None, marks):
            yield Orphan(kind, identity, marks)


def _all(cloud: Cloud, wanted: Marks | None) -> Iterator[tuple[str, str, Marks | None]]:
    """Yield kind and id of all that may be ours, with the marks that it has."""
    network, own = cloud.sdk.network, cloud.own
    for server in cloud.servers(wanted) if wanted else cloud.nova.servers.list(limit=-1):
        if server.status != "DELETED":
            yield "server", server.id, in_metadata(server.metadata)
    for group in cloud.sdk.compute.server_groups():
        yield "server group", group.id, in_name(group.name)
    for volume in cloud.volumes():
        yield "volume", volume.id, in_metadata(volume.metadata)
    for address in network.ips(**own):
        yield "floating ip", address.id, in_text(address.description)
    # With an id, the mark is in the description, and Neutron can be asked for that.
    narrowed = {**own, "description": wanted.text} if wanted and wanted.id else own
    for kind, listed in (
        ("port", network.ports(**narrowed)),
        ("router", network.routers(**narrowed)),
        ("network", network.networks(**narrowed)),
    ):
        for each in listed:
            yield kind, each.id, in_text(each.description) or in_tags(each.tags)
    for group in network.security_groups(**own):
        yield "security group", group.id, _of_group(group)
    for keypair in cloud.sdk.compute.keypairs():
        yield "keypair", keypair.name, in_keypair(keypair.name, own["project_id"])


def _of_group(group: Any) -> Marks | None:
    """Return the marks of a security group: its own description says it, the name alone proves nothing."""
    description = group.description or ""
    if not (group.name.startswith(PREFIX) and description.startswith(GROUP_MARKS)):
        return None
    return in_text(description) or Marks(group.name.removeprefix(PREFIX).removesuffix("-login"))


def remove(cloud: Cloud, orphan: Orphan) -> None:
    """Delete one thing that has no stack; what is gone already is no error.

    Raises:
        Exception: what the cloud's client says when it can't be deleted.

    """
    sdk = cloud.sdk
    if orphan.kind == "router":
        _detach(sdk, orphan.id)
    service, kind = KINDS[orphan.kind]
    proxy = getattr(sdk, service)
    getattr(proxy, f"delete_{kind}")(orphan.id, ignore_missing=True)
    # What a server has is in use until that is gone.
    if orphan.kind in ("server", "volume") and (gone := getattr(proxy, f"find_{kind}")(orphan.id)):
        proxy.wait_for_delete(gone, wait=120)


def _detach(sdk: Any, router: str) -> None:
    if sdk.network.find_router(router) is None:
        return
    for port in sdk.network.ports(device_id=router):
        if port.device_owner.startswith("network:router_interface"):
            sdk.network.remove_interface_from_router(router, port_id=port.id)
