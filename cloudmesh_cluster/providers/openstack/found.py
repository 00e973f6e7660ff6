"""Clusters that a cloud has, whoever made them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cloudmesh_cluster.model import Node, RoleName
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.stack import Stack, utc
from cloudmesh_cluster.template import DESCRIPTION, index_of, tags

PREFIX = "cm-"


@dataclass(frozen=True)
class FoundCluster:
    """A cluster as its stack tells.

    Args:
        name: the cluster's.
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


@dataclass(frozen=True)
class ListedCluster:
    """A cluster in a list: with the ids of its servers."""

    name: str
    stack_status: str
    created_at: str
    servers: tuple[str, ...]


def find_cluster(cloud: Cloud, name: str, stack: Stack) -> FoundCluster | None:
    """Return what a stack tells of its cluster; None when there is no such stack."""
    found = stack.find()
    if found is None:
        return None
    template = stack.template()
    output = template.get("outputs", {}).get(DESCRIPTION, {})
    return FoundCluster(
        name=name,
        stack_status=str(found.stack_status),
        created_at=utc(found.creation_time),
        description=str(output.get("value", "")),
        login_public_key=str(found.parameters.get("login_public_key", "")),
        nodes=_nodes(template, servers=stack.servers(), floating=_floating_ips(cloud, name)),
    )


def list_clusters(cloud: Cloud) -> list[ListedCluster]:
    """Return all clusters of a project whose stacks bear our tags, by two calls however many there are."""
    servers: defaultdict[str, list[str]] = defaultdict(list)
    for server in cloud.nova.servers.list(limit=-1):
        servers[server.metadata.get("cm_cluster", "")].append(server.id)
    found = [
        ListedCluster(name, str(each.stack_status), utc(each.creation_time), tuple(servers[name]))
        for each in cloud.heat.stacks.list(filters={"tags": "cm"})
        if (name := each.stack_name.removeprefix(PREFIX)) != each.stack_name
    ]
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


def _floating_ips(cloud: Cloud, cluster: str) -> dict[str, str]:
    """Return the floating IPs of a cluster by fixed address."""
    mark = tags(cluster)[-1]
    return {
        str(each.fixed_ip_address): str(each.floating_ip_address)
        for each in cloud.sdk.network.ips()
        if each.description == mark
    }
