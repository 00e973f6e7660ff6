"""Clusters that a cloud has, whoever made them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cloudmesh_cluster.core.heat_names import DESCRIPTION, index_of
from cloudmesh_cluster.core.marks import PREFIX, Marks, in_metadata
from cloudmesh_cluster.core.model import Node, RoleName
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.stack import Stack, marks_of, utc


@dataclass(frozen=True)
class FoundCluster:
    """A cluster as its stack tells.

    Args:
        name: the cluster's.
        cluster_id: its random id; empty where an older version has made it.
        stack_status: of the whole stack, as Heat says it.
        created_at: ISO 8601, UTC.
        description: what the stack says of it; empty when it was not made by `cm`.
        login_public_key: what opens its nodes.
        nodes: master first.

    """

    name: str
    stack_status: str
    created_at: str
    description: str
    login_public_key: str
    nodes: tuple[Node, ...]
    cluster_id: str = ""


@dataclass(frozen=True)
class ListedCluster:
    """A cluster in a list: with its random id, and the ids of its servers."""

    name: str
    cluster_id: str
    stack_status: str
    created_at: str
    servers: tuple[str, ...]


def find_cluster(cloud: Cloud, name: str) -> FoundCluster | None:
    """Return what the stack of a cluster says of it, whoever made it; None when there is no such stack."""
    found = Stack(cloud, Marks(name)).of_this_name()
    if found is None:
        return None
    marks = marks_of(found)
    stack = Stack(cloud, marks)
    template = stack.template()
    output = template.get("outputs", {}).get(DESCRIPTION, {})
    return FoundCluster(
        name=name,
        stack_status=str(found.stack_status),
        created_at=utc(found.creation_time),
        description=str(output.get("value", "")),
        login_public_key=str(found.parameters.get("login_public_key", "")),
        nodes=_nodes(template, servers=stack.servers(), floating=_floating_ips(cloud, stack)),
        cluster_id=marks.id,
    )


def list_clusters(cloud: Cloud) -> list[ListedCluster]:
    """Return all clusters of a project whose stacks bear our tags, by two calls however many there are."""
    servers: defaultdict[Marks | None, list[str]] = defaultdict(list)
    for server in cloud.nova.servers.list(limit=-1):
        servers[in_metadata(server.metadata)].append(server.id)
    found = []
    for each in cloud.heat.stacks.list(filters={"tags": "cm"}):
        if each.stack_name.startswith(PREFIX):
            marks, created_at = marks_of(each), utc(each.creation_time)
            nodes = tuple(servers[marks])
            found.append(ListedCluster(marks.cluster, marks.id, str(each.stack_status), created_at, nodes))
    return sorted(found, key=lambda each: each.name)


def _nodes(template: Mapping[str, Any], *, servers: Mapping[int, str], floating: Mapping[str, str]) -> tuple[Node, ...]:
    resources = template["resources"]
    nodes = []
    for name, body in resources.items():
        index = index_of(name)
        if body["type"] != "OS::Nova::Server" or index is None:
            continue
        address = str(resources[f"port_{index}"]["properties"]["fixed_ips"][0]["ip_address"])
        nodes.append(
            Node(
                str(body["properties"]["name"]),
                cast("RoleName", body["properties"]["metadata"]["cm_role"]),
                index,
                "found" if index in servers else "missing",
                address,
                floating.get(address),
                servers.get(index),
            )
        )
    return tuple(sorted(nodes, key=lambda node: node.index))


def _floating_ips(cloud: Cloud, stack: Stack) -> dict[str, str]:
    """Return the floating IPs of a stack by fixed address."""
    own = set(stack.floating_ips().values())
    return {
        str(each.fixed_ip_address): str(each.floating_ip_address)
        for each in cloud.sdk.network.ips(**cloud.own)
        if each.id in own
    }
