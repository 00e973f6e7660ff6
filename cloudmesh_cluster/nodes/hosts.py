"""Who is who: the marked blocks of `/etc/hosts`, `ssh_known_hosts` and `authorized_keys`, as text.

A block belongs to one cluster and is replaced as a whole, so that writing it again changes nothing and a
removed node's lines are gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from cloudmesh_cluster.core.model import Mesh, Node

_CONSOLE_KEYS = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(?P<keys>.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_PUBLIC_KEY = re.compile(r"(?P<kind>ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) (?P<blob>AAAA[A-Za-z0-9+/]+={0,3})")
_NODE_KEY_OPTIONS = "no-agent-forwarding,no-port-forwarding,no-X11-forwarding"


def host_key_alias(node: Node) -> str:
    """Return the name by which the client knows a node's host key; addresses are reused, names are not."""
    return f"cm-{node.name}"


def hosts_block(cluster: str, nodes: Iterable[Node]) -> str:
    """Return the block of `/etc/hosts` that names every node by its full and its short name."""
    return marked_block(cluster, (f"{node.private_ip} {node.name} {node.short_name}" for node in nodes))


def known_hosts_block(cluster: str, nodes: Iterable[Node], host_keys: Mapping[str, Sequence[str]]) -> str:
    """Return the block of the nodes' own `ssh_known_hosts`.

    Args:
        cluster: its name.
        nodes: the nodes to know, by full name, short name and address.
        host_keys: each node's host keys by the node's name; a node without any gets no line.

    """
    return marked_block(
        cluster,
        (
            f"{node.name},{node.short_name},{node.private_ip} {_bare(key)}"
            for node in nodes
            for key in host_keys.get(node.name, ())
        ),
    )


def authorized_keys_block(cluster: str, nodes: Iterable[Node], public_keys: Mapping[str, str], mesh: Mesh) -> str:
    """Return the block of `authorized_keys` by which nodes let each other in; it is the same on every node.

    Args:
        cluster: its name.
        nodes: the nodes of the cluster.
        public_keys: each node's own public key by the node's name; a node without one is not let in.
        mesh: "all": every node's key is accepted; "master-to-workers": the master's only; "none": no key.

    A key is accepted from its own node's address only.
    """
    accepted = [node for node in nodes if mesh == "all" or (mesh != "none" and node.role == "master")]
    return marked_block(
        cluster,
        (
            f'from="{node.private_ip}",{_NODE_KEY_OPTIONS} {_bare(public_keys[node.name])} {node.name}'
            for node in accepted
            if node.name in public_keys
        ),
    )


def ssh_ports(nodes: Iterable[Node], ports: Mapping[str, int]) -> str:
    """Return what tells the nodes' own ssh of SSH servers on other ports than 22; empty when there is none.

    Args:
        nodes: the nodes of the cluster.
        ports: of SSH servers, by the node's name.

    The host key is looked for by the node's name alone, as if the port were the usual one.
    """
    return "".join(
        f"Host {node.name} {node.short_name} {node.private_ip}\n"
        f"    Port {ports[node.name]}\n    HostKeyAlias {node.name}\n"
        for node in nodes
        if ports.get(node.name, 22) != 22
    )


def replace_block(text: str, cluster: str, block: str) -> str:
    """Return `text` with the cluster's block replaced by `block`, appended when there was none.

    An empty `block` removes it. Text outside of the block is kept as it is, also after a marker that has
    lost its counterpart.
    """
    begin, end = (re.escape(marker) for marker in _markers(cluster))
    old = re.compile(rf"^{begin}\n(?:(?!{begin}$).*\n)*?{end}(?:\n|\Z)", re.MULTILINE)
    kept = old.sub("", text)
    return (kept + "\n" if kept and not kept.endswith("\n") else kept) + block


def client_known_hosts(nodes: Iterable[Node], host_keys: Mapping[str, Sequence[str]]) -> str:
    """Return the client's own known hosts file of a cluster, keyed by `host_key_alias`."""
    return "".join(f"{host_key_alias(node)} {_bare(key)}\n" for node in nodes for key in host_keys.get(node.name, ()))


def parse_console_host_keys(console: str) -> list[str]:
    """Return the host keys that cloud-init printed on the console, Ed25519 first; the last boot's count.

    Kernel messages, carriage returns and syslog prefixes around the keys do no harm. The list is empty as
    long as the block is not complete.
    """
    blocks = _CONSOLE_KEYS.findall(console)
    return parse_host_keys(blocks[-1]) if blocks else []


def parse_host_keys(text: str) -> list[str]:
    """Return the public keys in a text, each once and without comments, Ed25519 first."""
    keys = dict.fromkeys(f"{found['kind']} {found['blob']}" for found in _PUBLIC_KEY.finditer(text))
    return sorted(keys, key=lambda key: not key.startswith("ssh-ed25519 "))


def _markers(cluster: str) -> tuple[str, str]:
    return f"# BEGIN cm {cluster}", f"# END cm {cluster}"


def marked_block(cluster: str, lines: Iterable[str]) -> str:
    """Return lines between the markers of a cluster's block."""
    begin, end = _markers(cluster)
    return "".join(f"{line}\n" for line in (begin, *lines, end))


def _bare(key: str) -> str:
    """Return a public key line without its comment."""
    return " ".join(key.split()[:2])
