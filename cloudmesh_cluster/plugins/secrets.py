"""What only the nodes of one cluster may know: made once on the client, kept there, and brought to every node."""

from __future__ import annotations

import secrets
from pathlib import Path

from cloudmesh_cluster.core.files import make_private, write_atomically
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.secret_settings import FILE, assignments, kept_secrets
from cloudmesh_cluster.plugins.settings import private_texts

SIZE = 64  # bytes, written as twice as many hexadecimal digits
Files = dict[str, tuple[bytes, int]]


def secret_files(home: Home, node: Node, chosen: ChosenPlugin) -> Files:
    """Return the secrets of a plugin for a node as files below its folder, readable for root only.

    What nodes share is made when it is missing; a certificate is the node's own. Settings that are secrets, or look as
    if one was in them, are in a file that `plugin.sh` reads.

    Raises:
        UsageError: a setting that is a secret is not known.

    """
    folder = home.secrets(node.cluster, chosen.plugin.name)
    contents = {
        secret.name: _shared(folder / secret.name)
        for secret in chosen.plugin.secrets
        if secret.role in (None, node.role)
    }
    if chosen.plugin.certificates and chosen.settings[chosen.plugin.certificates]:
        from cloudmesh_cluster.plugins.certificates import node_certificate

        contents |= node_certificate(home, node)
    files = {f"secrets/{name}": (content, 0o600) for name, content in contents.items()}
    if settings := private_texts(chosen) | kept_secrets(home, node.cluster, chosen):
        files[FILE] = (assignments(settings), 0o600)
    return files


def _shared(path: Path) -> bytes:
    if not path.exists():
        make_private(path.parent)
        write_atomically(path, secrets.token_hex(SIZE).encode() + b"\n")
    return path.read_bytes()
