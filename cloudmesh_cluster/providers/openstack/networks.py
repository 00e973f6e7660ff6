"""Free addresses of an existing network."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.providers.openstack.cloud import Cloud


def subnet_of(cloud: Cloud, network: str, subnet: str | None) -> Any:
    """Return the IPv4 subnet of a network that nodes are to be in.

    Raises:
        UsageError: there is no such network, or no such subnet, or it has several and none is named.

    """
    found = cloud.sdk.network.find_network(network)
    if found is None:
        known = ", ".join(sorted(each.name for each in cloud.sdk.network.networks()))
        raise UsageError(f"no network {network!r} in the cloud", hint=f"known: {known}")
    subnets = [each for each in cloud.sdk.network.subnets(network_id=found.id) if each.ip_version == 4]
    chosen = [each for each in subnets if subnet is None or subnet in (each.name, each.id)]
    if len(chosen) != 1:
        names = ", ".join(each.name or each.id for each in subnets) or "none"
        raise UsageError(f"network {network!r}: which subnet?", hint=f"subnet: one of {names}")
    return chosen[0]


def free_addresses(
    cloud: Cloud, network: str, subnet: str | None, count: int, taken: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the CIDR of a subnet and addresses of its allocation pools that no port has.

    Neutron refuses an address that somebody else takes meanwhile; the stack then fails, saying so.

    Raises:
        UsageError: there are not enough.

    """
    chosen = subnet_of(cloud, network, subnet)
    used = {ip["ip_address"] for port in cloud.sdk.network.ports(network_id=chosen.network_id) for ip in port.fixed_ips}
    used.update(taken)
    free: list[str] = []
    for pool in chosen.allocation_pools:
        address, end = ipaddress.IPv4Address(pool["start"]), ipaddress.IPv4Address(pool["end"])
        while address <= end and len(free) < count:
            if str(address) not in used:
                free.append(str(address))
            address += 1
    if len(free) < count:
        raise UsageError(f"network {network!r} has {len(free)} free addresses, {count} are needed")
    return str(chosen.cidr), free
