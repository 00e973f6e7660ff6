"""What OpenStack would put on the config drive of a node."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.providers.base import Boot, NodeBoot


@contextmanager
def config_drives(cluster: Path) -> Iterator[Path]:
    """Yield an empty folder for config drives; the keys that a killed process leaves there go with the cluster."""
    folder = cluster / "drives"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def write_config_drive(folder: Path, boot: Boot, each: NodeBoot) -> Path:
    """Write the config drive of a node into a folder, and return it."""
    drive = folder / each.node.name
    latest = drive / "openstack" / "latest"
    latest.mkdir(parents=True)
    identity = str(uuid.uuid4())
    meta_data = {
        "uuid": identity,
        "name": each.node.name,
        "hostname": each.node.name,
        "launch_index": each.node.index,
        "availability_zone": "local",
        "meta": {**Marks(boot.cluster, boot.cluster_id).metadata, "cm_role": each.node.role},
    }
    for name, content in (("meta_data.json", json.dumps(meta_data).encode()), ("user_data", each.user_data)):
        descriptor = os.open(latest / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return drive
