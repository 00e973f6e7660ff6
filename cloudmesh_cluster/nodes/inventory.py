"""A cluster as other tools want to be told about it: ssh_config, Ansible inventory, hosts lines, nodeset."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.model import Cluster, Node
from cloudmesh_cluster.core.targets import fold
from cloudmesh_cluster.nodes.hosts import host_key_alias

InventoryFormat = Literal["ansible", "ssh", "hosts", "nodeset"]
FORMATS: tuple[InventoryFormat, ...] = get_args(InventoryFormat)


def render(
    form: str,
    cluster: Cluster,
    *,
    user: str,
    key: Path,
    known_hosts: Path,
    ssh_config: Path,
    route: Callable[[Node], Mapping[str, str]] = lambda node: {},
) -> str:
    """Return the inventory of a cluster as text.

    Args:
        form: "ansible" (YAML), "ssh" (ssh_config), "hosts" (lines of /etc/hosts) or "nodeset".
        cluster: what to describe.
        user: the login user.
        key: the private login key.
        known_hosts: the file with the pinned host keys.
        ssh_config: where the text of form "ssh" lies; Ansible reaches the nodes by it.
        route: the options by which ssh reaches a node, such as a ProxyJump; none for a direct connection.

    Raises:
        NotFound: there is no such form.

    """
    if form == "ssh":
        common = _ssh_common(user, key=key, known_hosts=known_hosts)
        return "\n".join([*(_ssh_host(node, route(node)) for node in cluster.nodes), common])
    if form == "ansible":
        return _ansible(cluster, user=user, ssh_config=ssh_config)
    if form == "hosts":
        return "".join(f"{node.private_ip} {node.name} {node.short_name}\n" for node in cluster.nodes)
    if form == "nodeset":
        return fold(node.name for node in cluster.nodes) + "\n"
    raise NotFound("inventory format", form, FORMATS)


def _ssh_host(node: Node, route: Mapping[str, str]) -> str:
    lines = [f"Host {node.name} {node.short_name}", f"    HostName {node.public_ip or node.private_ip}"]
    lines.append(f"    HostKeyAlias {host_key_alias(node)}")
    lines += [f"    {name} {value}" for name, value in route.items()]
    return "".join(f"{line}\n" for line in lines)


def _ssh_common(user: str, *, key: Path, known_hosts: Path) -> str:
    options = {
        "User": user,
        "IdentityFile": _ssh_path(key),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": _ssh_path(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "KexAlgorithms": "curve25519-sha256",
    }
    return "Host *\n" + "".join(f"    {name} {value}\n" for name, value in options.items())


def _ssh_path(path: Path) -> str:
    """Quote a path for ssh_config, where % begins a token."""
    return '"' + str(path).replace("%", "%%") + '"'


def _ansible(cluster: Cluster, *, user: str, ssh_config: Path) -> str:
    """Return YAML; every value is written as JSON, which is YAML that no reader takes for something else."""
    groups = {"master": (cluster.master,), "workers": cluster.workers}
    lines = ["---", "all:", "  vars:", f"    ansible_user: {json.dumps(user)}"]
    lines.append(f"    ansible_ssh_common_args: {json.dumps(f'-F {shlex.quote(str(ssh_config))}')}")
    lines += ["    ansible_python_interpreter: /usr/bin/python3", "  children:"]
    for group, nodes in groups.items():
        lines += [f"    {group}:", "      hosts:" if nodes else "      hosts: {}"]
        lines += (f"        {node.name}: {json.dumps(_ansible_vars(node))}" for node in nodes)
    return "".join(f"{line}\n" for line in lines)


def _ansible_vars(node: Node) -> dict[str, object]:
    return {"ansible_host": node.name, "private_ip": node.private_ip, "cm_role": node.role, "cm_index": node.index}
