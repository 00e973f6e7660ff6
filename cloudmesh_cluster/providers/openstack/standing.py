"""What was recorded of a cluster, compared with what the cloud has now: asked before anything of it is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cloudmesh_cluster.core.heat_names import index_of, is_own
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Node, Problem
from cloudmesh_cluster.providers.base import Change
from cloudmesh_cluster.providers.openstack.changes import obstacles as of_template
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.preflight import images_and_flavors, wanted
from cloudmesh_cluster.providers.openstack.servers import WAKING
from cloudmesh_cluster.providers.openstack.settings import Settings
from cloudmesh_cluster.providers.openstack.stack import Stack

REMEDIES = {
    "ERROR": "openstack server reboot --hard {name}",
    "RESCUE": "openstack server unrescue {name}",
    "VERIFY_RESIZE": "openstack server resize confirm {name}",
}
"""What to type for a server that neither runs nor can be woken, by its status."""

RENEWABLE = ("router", "security_group", "login_security_group")
"""Resources that Heat can make once more without making any server anew."""

Look = Callable[[str], Any]
"""Returns something by its id or name, None where there is no such thing."""


def obstacles(cloud: Cloud, settings: Settings, stack: Stack, change: Change) -> list[Problem]:
    """Return why a change can't be made, or not without harm to nodes that stay."""
    if change.kind == "delete":
        return [*of_servers(cloud, stack.marks, change.goes, change.kind)]
    if change.kind in ("start", "stop"):
        found = [*of_servers(cloud, stack.marks, change.stays, change.kind)]
        return found or [*(of_addresses(cloud, stack.marks, change.stays) if change.kind == "start" else ())]
    if (there := stack.find()) is None:
        return []
    if found := [
        *of_stack(there),
        *of_servers(cloud, stack.marks, change.goes, change.kind),
        *of_addresses(cloud, stack.marks, change.stays),
    ]:
        return found
    template = stack.template()
    found += of_names(cloud, template, change.stays)
    if change.comes and change.profile:
        found += of_shared(cloud, stack)
        found += images_and_flavors(cloud, settings, wanted(change.profile, stack.marks, change.comes).specs, {})
    return [*found, *of_template(cloud, stack, [node.index for node in (*change.goes, *change.comes)])]


def of_stack(found: Any) -> Iterator[Problem]:
    """Yield why Heat would refuse to change a stack, or must not be asked now."""
    action, _, status = str(found.stack_status).partition("_")
    name = found.stack_name
    where, what = f"stack {name}", f"it is {found.stack_status}"
    if status == "IN_PROGRESS":
        yield Problem(where, f"{what}: somebody is changing it", f"when it has ended: openstack stack show {name}")
    elif action == "SUSPEND":
        yield Problem(where, f"{what}: Heat changes no suspended stack", f"openstack stack resume {name}")
    elif action == "DELETE":
        yield Problem(where, f"{what}: Heat only deletes it", f"openstack stack show {name} says why it is still there")


def of_servers(cloud: Cloud, marks: Marks, nodes: Sequence[Node], kind: str) -> Iterator[Problem]:
    """Yield why servers can't be started ("start"), stopped ("stop") or deleted (any other word) as they are."""
    there = {server.name: server for server in cloud.servers(marks)} if nodes else {}
    for node in nodes:
        if (server := there.get(node.name)) is None:
            if kind == "start":
                remedy = f"cm cluster replace {node.cluster} {node.short_name}"
                yield Problem(node.name, "it has no server any more", remedy)
        elif server.locked and _is_touched(server.status, kind):
            yield Problem(node.name, "its server is locked", f"openstack server unlock {node.name}")
        elif kind == "start" and server.status not in ("ACTIVE", *WAKING):
            remedy = REMEDIES.get(server.status, "openstack server show {name}")
            yield Problem(node.name, f"its server is {server.status}", remedy.format(name=node.name))
        elif kind == "stop" and server.status in WAKING and server.status != "SHUTOFF":
            remedy = f"openstack server {WAKING[server.status]} {node.name}, or cm cluster start {node.cluster}"
            yield Problem(node.name, f"its server is {server.status}, Nova stops running ones only", remedy)


def _is_touched(status: str, kind: str) -> bool:
    return kind not in ("start", "stop") or (status in WAKING if kind == "start" else status == "ACTIVE")


def of_addresses(cloud: Cloud, marks: Marks, nodes: Sequence[Node]) -> Iterator[Problem]:
    """Yield which nodes can't be reached, since the cloud has given their addresses to nobody, or to another server."""
    network = cloud.sdk.network
    floating = {str(each.floating_ip_address): each for each in network.ips(**cloud.own)}
    for node in nodes:
        ports = [port for port in network.ports(device_id=node.provider_id) if node.provider_id]
        port = next((port for port in ports if node.private_ip in _fixed(port)), None)
        if port is None:
            remedy = f"openstack server add port {node.name} PORT, with a port of that address"
            yield Problem(node.name, f"its server has no port with {node.private_ip} any more", remedy)
        elif node.public_ip is not None and (address := floating.get(node.public_ip)) is None:
            made = f"--port {port.id} --floating-ip-address {node.public_ip} --description '{marks.text}'"
            what = f"the project does not have its floating IP {node.public_ip} any more"
            yield Problem(node.name, what, f"openstack floating ip create {made} NETWORK")
        elif node.public_ip is not None and address is not None and address.port_id != port.id:
            remedy = f"openstack floating ip set --port {port.id} {node.public_ip}"
            yield Problem(node.name, f"its floating IP {node.public_ip} is not at its port", remedy)


def _fixed(port: Any) -> list[str]:
    return [str(each["ip_address"]) for each in port.fixed_ips]


def of_names(cloud: Cloud, template: Mapping[str, Any], nodes: Sequence[Node]) -> Iterator[Problem]:
    """Yield which images, flavors and networks of servers that stay are not there under their names any more.

    Heat looks all of them up at every change. A stack that says ids does not mind another name.
    """
    resources, seen = template["resources"], set()
    for kind, look, name, node in _referred(cloud, resources, nodes):
        if (kind, name) in seen:
            continue
        seen.add((kind, name))
        if look(name) is not None:
            continue
        who = f"{node.name} was made of it" if node else "the cluster was made with it"
        what = f"it is gone, and {who}: Heat can't change the stack"
        yield Problem(f"{kind} {name}", what, _named_back(cloud, kind, name, node))


def _referred(
    cloud: Cloud, resources: Mapping[str, Any], nodes: Sequence[Node]
) -> Iterator[tuple[str, Look, str, Node | None]]:
    """Yield what the resources of a cluster refer to in the cloud: its kind, how to look it up, its name, and whose."""
    sdk = cloud.sdk
    for node in nodes:
        properties = resources.get(f"server_{node.index}", {}).get("properties", {})
        disks = properties.get("block_device_mapping_v2") or [{}]
        image = properties.get("image") or disks[0].get("image")
        if isinstance(image, str):
            yield "image", sdk.image.find_image, image, node
        if isinstance(flavor := properties.get("flavor"), str):
            yield "flavor", sdk.compute.find_flavor, flavor, node
    bodies = [body.get("properties", {}) for name, body in resources.items() if is_own(name)]
    networks = [body.get(key) for body in bodies for key in ("network", "floating_network")]
    networks += [body.get("external_gateway_info", {}).get("network") for body in bodies]
    for name in dict.fromkeys(each for each in networks if isinstance(each, str)):
        yield "network", sdk.network.find_network, name, None


def _named_back(cloud: Cloud, kind: str, name: str, node: Node | None) -> str:
    """Return what makes a name mean again what it meant."""
    if kind == "image" and node is not None and (server := cloud.sdk.compute.find_server(node.provider_id)):
        identity = str((server.image or {}).get("id") or "")
        if identity and identity != name and cloud.sdk.image.find_image(identity) is not None:
            return f"openstack image set --name {name} {identity}"
    if kind == "network":
        return f"openstack network set --name {name} ID, if it has another name now"
    return f"ask the operator of the cloud for this {kind}; the cluster can be used as it is"


def of_shared(cloud: Cloud, stack: Stack) -> Iterator[Problem]:
    """Yield what new servers would refer to, and is not there any more."""
    network = cloud.sdk.network
    looks: dict[str, Look] = {
        "OS::Neutron::Net": network.find_network,
        "OS::Neutron::Subnet": network.find_subnet,
        "OS::Neutron::Router": network.find_router,
        "OS::Neutron::SecurityGroup": network.find_security_group,
        "OS::Nova::ServerGroup": cloud.sdk.compute.find_server_group,
    }
    for each in cloud.heat.resources.list(stack.name):
        identity = each.physical_resource_id
        if index_of(each.resource_name) is not None or not identity or each.resource_type not in looks:
            continue
        if looks[each.resource_type](identity) is None:
            what = f"{each.resource_name} {identity} is gone: new servers can't do without it"
            yield Problem(f"stack {stack.name}", what, _made_again(stack.name, each.resource_name))


def _made_again(stack: str, resource: str) -> str:
    """Return what makes a shared resource anew, where no server is made anew with it."""
    if resource in RENEWABLE:
        mark = f"openstack stack resource mark unhealthy {stack} {resource}"
        return f"{mark}, then openstack stack update --existing {stack}"
    return f"openstack stack resource list {stack}"
