"""Building an environment on a cluster's head, which fetches its packages: this file is run there, beside rattler.

Nothing of `cm` is installed on nodes: `tool` packs what is needed, and the operation brings it there.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cloudmesh_cluster.conda import archives, solver
from cloudmesh_cluster.conda.channels import Channel
from cloudmesh_cluster.conda.environments import CondaEnvironment
from cloudmesh_cluster.core.codec import decode, encode
from cloudmesh_cluster.core.errors import CmError
from cloudmesh_cluster.core.home import Home

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from cloudmesh_cluster.conda.head import main; main()"
"""What Python on the head is told; its words are the folder of the tool and the one that it works in."""
ROOMS = ("conda", "core", "state")
"""What of this package the head needs."""


def tool(home: Home) -> Path:
    """Return the archive of what the head needs, made when it is missing; its name changes with what is in it."""
    import rattler

    own, foreign = Path(__file__).parents[1], Path(rattler.__file__).parent
    modules = (path for pattern in ("*.py", *(f"{room}/*.py" for room in ROOMS)) for path in own.glob(pattern))
    members = {f"{own.name}/{path.relative_to(own)}": path for path in modules}
    members |= {
        f"{foreign.name}/{path.relative_to(foreign)}": path
        for path in foreign.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    digest = hashlib.sha256()
    for name, path in sorted(members.items()):
        digest.update(name.encode() + path.read_bytes())
    made = home.cache / "conda" / "head" / f"tool-{digest.hexdigest()[:12]}.tgz"
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tool-", dir=made.parent) as folder:
        with tarfile.open(Path(folder) / "tool", "w:gz", compresslevel=3) as tar:
            for name, path in sorted(members.items()):
                tar.add(path, name)
        (Path(folder) / "tool").replace(made)
    return made


def job(environment: CondaEnvironment, lock: str, channels: Sequence[Channel], ssl_verify: str) -> bytes:
    """Return what `main` reads.

    Args:
        environment: what to build.
        lock: its lock, without secrets.
        channels: their addresses, with secrets: they are in no file of the head but while it works.
        ssl_verify: as for the client; of a file its content is sent.

    """
    certificates = "" if ssl_verify in ("true", "false") else Path(ssl_verify).expanduser().read_text()
    about = {"environment": json.loads(encode(environment)), "lock": lock, "ssl_verify": ssl_verify,
             "certificates": certificates, "channels": [asdict(each) for each in channels]}  # fmt: skip
    return json.dumps(about).encode()


def main() -> None:
    """Build what standard input says, below the folder that is the last word; print what came of it as JSON."""
    folder, about = Path(sys.argv[2]), json.load(sys.stdin)
    try:
        archive = _built(about, folder)
    except CmError as error:
        sys.exit(error.message)
    done = {"file": str(archive.file), "sha256": archive.sha256, "link_scripts": archive.link_scripts}
    sys.stdout.write(json.dumps(done))


def _built(about: dict[str, Any], folder: Path) -> archives.Archive:
    environment = decode(CondaEnvironment, json.dumps(about["environment"]))
    channels = [Channel(**each) for each in about["channels"]]
    with tempfile.TemporaryDirectory(prefix=".job-", dir=folder) as name:
        lock, certificates = Path(name) / "lock", Path(name) / "certificates"
        lock.write_text(about["lock"])
        certificates.write_text(about["certificates"])
        client = solver.client_for(str(certificates) if about["certificates"] else about["ssl_verify"])
        records = solver.read_lock(lock, channels)
        return archives.build(environment, records, channels, Home(folder, folder), client)
