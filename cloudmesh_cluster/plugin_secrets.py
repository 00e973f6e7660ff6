"""What only the nodes of one cluster may know: made once on the client, kept there, and brought to every node."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cloudmesh_cluster.home import Home
from cloudmesh_cluster.plugins import Plugin

SIZE = 64  # bytes, written as twice as many hexadecimal digits


def secret_files(home: Home, cluster: str, plugin: Plugin) -> dict[str, tuple[bytes, int]]:
    """Return a plugin's secrets as files below its folder, readable for root only; they are made when missing."""
    folder = home.secrets(cluster, plugin.name)
    return {f"secrets/{name}": (_secret(folder / name), 0o600) for name in plugin.secrets}


def _secret(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(SIZE).encode() + b"\n")
        os.link(new, path)  # fails where a rename would overwrite what another node has got
    except FileExistsError:
        pass  # made before
    finally:
        new.unlink()
    return path.read_bytes()
