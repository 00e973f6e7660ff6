"""What bears our marks in a project, of clusters that nobody here knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from cloudmesh_cluster.keys import login_comment
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.found import PREFIX, list_clusters

TAG = "cm-cluster-"
GROUP_MARKS = ("everything between the nodes of the cluster", "SSH from where the cluster was made")
KINDS = {
    "server": ("compute", "server"),
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
    """Something in the cloud, with the name of the cluster that it was made for."""

    kind: str
    id: str
    cluster: str


def orphans(cloud: Cloud, known: Collection[str]) -> list[Orphan]:
    """Return the stacks of unknown clusters, and what is left of clusters that have no stack any more.

    Args:
        cloud: the project to look through.
        known: the clusters that are somebody's here.

    """
    stacks = {each.name for each in list_clusters(cloud)}
    found = [Orphan("stack", f"{PREFIX}{name}", name) for name in sorted(stacks - set(known))]
    # What a stack has made goes with it; heat.stacks.list knows no stack without our tags, so each is asked for.
    owned = stacks | set(known)
    loose = [each for each in marked(cloud) if each.cluster not in owned]
    untagged = {name for name in {each.cluster for each in loose} if _has_stack(cloud, name)}
    return found + [each for each in loose if each.cluster not in untagged]


def _has_stack(cloud: Cloud, cluster: str) -> bool:
    from heatclient.exc import HTTPNotFound

    try:
        stack = cloud.heat.stacks.get(f"{PREFIX}{cluster}", resolve_outputs=False)
    except HTTPNotFound:
        return False
    return bool(stack.stack_status != "DELETE_COMPLETE")


def marked(cloud: Cloud) -> Iterator[Orphan]:
    """Yield everything but stacks that bears a mark of ours, in an order in which it can be deleted."""
    network, own = cloud.sdk.network, cloud.own
    for server in cloud.nova.servers.list(limit=-1):
        if cluster := server.metadata.get("cm_cluster"):
            yield Orphan("server", server.id, cluster)
    for volume in cloud.volumes():
        if cluster := volume.metadata.get("cm_cluster"):
            yield Orphan("volume", volume.id, cluster)
    for address in network.ips(**own):
        if (address.description or "").startswith(TAG):
            yield Orphan("floating ip", address.id, address.description.removeprefix(TAG))
    for kind, listed in (
        ("port", network.ports(tags="cm", **own)),
        ("router", network.routers(tags="cm", **own)),
        ("network", network.networks(tags="cm", **own)),
    ):
        for each in listed:
            if cluster := next((tag.removeprefix(TAG) for tag in each.tags if tag.startswith(TAG)), ""):
                yield Orphan(kind, each.id, cluster)
    for group in network.security_groups(**own):
        if group.name.startswith(PREFIX) and (group.description or "").startswith(GROUP_MARKS):
            yield Orphan("security group", group.id, group.name.removeprefix(PREFIX).removesuffix("-login"))
    for keypair in cloud.sdk.compute.keypairs():
        cluster = keypair.name.removeprefix(PREFIX)
        comment = keypair.public_key.rstrip().partition(" ")[2].partition(" ")[2]
        if keypair.name.startswith(PREFIX) and comment == login_comment(cluster):
            yield Orphan("keypair", keypair.name, cluster)


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
