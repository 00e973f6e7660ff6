"""The Heat template of a cluster: a pure function of what is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cloudmesh_cluster.core.heat_names import HOST_KEYS, index_of, is_signal
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Additions, Volume
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.core.version import __version__

NAME, SHORT_NAME, ADDRESS = "@cm-name@", "@cm-short-name@", "@cm-address@"
"""What stands for a node's own values in the user_data that all nodes but the last share."""

BOOTSTRAP_PRIVATE_KEY, SIGNAL = "@cm-bootstrap-private-key@", "@cm-signal@"
"""What Heat replaces in the user_data of the last node."""

HOST_KEYS_SIGNAL = "@cm-host-keys-signal@"
"""What Heat replaces in the user_data of every node that is to tell it its host keys."""


@dataclass(frozen=True)
class Server:
    """A server of the template.

    Args:
        name: its host name.
        short_name: its name inside the cluster.
        role: "master" or "worker".
        index: 0 is the master.
        address: its fixed address.
        image: name or id.
        flavor: name or id.
        floating_ip: whether it gets one.
        login: whether SSH is let in from outside.
        root_disk: size in GiB of a volume to boot from; None boots from the image.
        volumes: further volumes.

    """

    name: str
    short_name: str
    role: str
    index: int
    address: str
    image: str
    flavor: str
    floating_ip: bool = False
    login: bool = False
    root_disk: int | None = None
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True)
class Stack:
    """What a stack is made of.

    Args:
        marks: of the cluster, which everything of the stack has.
        operation: the id of the operation; names the wait condition.
        servers: in order; the last one propagates the hosts.
        cidr: of a network to make; empty for an existing one.
        network: an existing network, with its `subnet`.
        subnet: see `network`.
        external_network: where floating IPs and the router's way out come from; may be empty.
        dns: addresses of name servers for a network to make.
        ssh_from: from where SSH is let in, as CIDR.
        availability_zone: of all servers; may be empty.
        anti_affinity: whether servers should lie on different hosts.
        propagates: whether the last server propagates the hosts; if not, it is told the same as the others.
        signal: whether the last node tells Heat when it is done.
        signal_timeout: seconds that Heat waits for that.
        tells_host_keys: whether each node tells Heat its host keys, through a handle of its own.
        additions: what the profile adds of the user's own.
        description: what another machine needs to know of the cluster, as JSON; holds no secret.

    """

    marks: Marks
    operation: str
    servers: Sequence[Server]
    ssh_from: str
    cidr: str = ""
    network: str = ""
    subnet: str = ""
    external_network: str = ""
    dns: Sequence[str] = ()
    availability_zone: str = ""
    anti_affinity: bool = False
    propagates: bool = True
    signal: bool = True
    signal_timeout: int = 900
    tells_host_keys: bool = False
    description: str = ""
    additions: Additions | None = None


def render(stack: Stack) -> str:
    """Return the template as YAML text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(resource("heat_templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (it is YAML, not HTML: every value goes through tojson)
    )
    environment.filters["tojson"] = _to_json
    return environment.get_template("cluster.yaml.j2").render(
        **{
            **asdict(stack),
            "marks": stack.marks,
            "servers": stack.servers,
            "additions": stack.additions or Additions(""),
        },
        cluster=stack.marks.cluster,
        stack=stack.marks.stack,
        own_network=bool(stack.cidr),
        version=__version__,
        handle=handle_of(stack.operation),
        condition=f"nodes_up_{stack.operation.replace('-', '_')}",
        host_key_handle=host_key_handle,
    )


def handle_of(operation: str) -> str:
    """Return the name of the handle that an operation's last node signals."""
    return f"handle_{operation.replace('-', '_')}"


def host_key_handle(index: int, operation: str) -> str:
    """Return the name of the handle by which a node that an operation boots tells its host keys."""
    return f"{HOST_KEYS}{index}_{operation.replace('-', '_')}"


def attachments(index: int, count: int) -> set[str]:
    """Return the names of the resources that attach a server's volumes to it."""
    return {f"volume_{index}_{number}_attachment" for number in range(1, count + 1)}


def host_key_handles(names: Iterable[str]) -> dict[int, str]:
    """Return the handles for host keys among the names of resources, by the index of their nodes."""
    return {index: name for name in names if name.startswith(HOST_KEYS) and (index := index_of(name)) is not None}


def with_host_key_handles(template: Mapping[str, Any], *, operation: str, indices: Sequence[int]) -> dict[str, Any]:
    """Return a stack's template in which some servers, which stay, have handles of another operation."""
    old = [name for index, name in host_key_handles(template["resources"]).items() if index in indices]
    fresh = {
        host_key_handle(index, operation): {
            "type": "OS::Heat::WaitConditionHandle",
            "properties": {"signal_transport": "TOKEN_SIGNAL"},
        }
        for index in indices
    }
    kept = {name: body for name, body in _kept(template, ()).items() if name not in old}
    return {**template, "resources": {**kept, **fresh}}


def _to_json(value: object) -> str:
    """Return JSON that YAML reads as the same text.

    Jinja's own filter escapes for HTML, and what JSON writes as a pair of surrogates is two characters for YAML.
    """
    import json

    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^ -~]", lambda found: f"\\U{ord(found[0]):08x}", text)


def common_user_data(content: str, *, name: str, short_name: str, address: str) -> str:
    """Return a node's user_data with its own values replaced by what stands for them."""
    line = f"{address} {name} {short_name}"
    return content.replace(line, f"{ADDRESS} {NAME} {SHORT_NAME}").replace(f": {name}\n", f": {NAME}\n")


def grown(template: Mapping[str, Any], addition: Mapping[str, Any], *, indices: Sequence[int]) -> dict[str, Any]:
    """Return a stack's template with servers of another one added.

    Args:
        template: what the stack is made of now.
        addition: a rendered template that has the new servers.
        indices: of the servers to add; those of the same index are replaced.

    """
    added = {name: body for name, body in addition["resources"].items() if is_signal(name) or index_of(name) in indices}
    return {
        **template,
        "parameters": {**template.get("parameters", {}), **addition["parameters"]},
        "resources": {**_kept(template, indices), **added},
        "outputs": {**template.get("outputs", {}), **addition.get("outputs", {})},
    }


def shrunk(template: Mapping[str, Any], *, indices: Sequence[int]) -> dict[str, Any]:
    """Return a stack's template without some of its servers."""
    return {**template, "resources": _kept(template, indices)}


def _kept(template: Mapping[str, Any], indices: Sequence[int]) -> dict[str, Any]:
    """Return the resources that stay: all but those of some servers and the signal of an earlier operation."""
    return {
        name: _without_user_data(body)
        for name, body in template["resources"].items()
        if not is_signal(name) and index_of(name) not in indices
    }


def _without_user_data(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a server without what it was told at its first boot: it may name a signal that is gone, and is ignored."""
    if body["type"] != "OS::Nova::Server":
        return body
    return {**body, "properties": {**body["properties"], "user_data": ""}}
