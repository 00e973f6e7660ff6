"""`cm doctor`: one archive with all that somebody needs who is to help, and no secret in it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudmesh_cluster.core.codec import encode
from cloudmesh_cluster.core.errors import CmError, UsageError
from cloudmesh_cluster.core.files import is_written_through, would_be_lost
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.redaction import known_secrets, redact, secret_values
from cloudmesh_cluster.core.yaml_reader import Source
from cloudmesh_cluster.operations.queries import inspect
from cloudmesh_cluster.operations.session import connections_of
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.ssh.files import tarball
from cloudmesh_cluster.state.store import State

LIBRARIES = ("asyncssh", "cryptography", "cmd2", "rich", "PyYAML", "Jinja2", "openstacksdk", "python-heatclient")
LONGEST = 4 * 1024 * 1024
"""Bytes of a log that are kept: its end."""
ANSWER = 30.0
"""Seconds that a node may take to tell of itself."""
ASK = """\
exec 2>&1
for line in 'uname -a' 'cat /etc/os-release' 'uptime' 'df -h' 'free -m' 'ip -brief address' 'cat /etc/hosts' \
    'ls -la /var/lib/cm /usr/local/lib/cm/plugins' '/usr/local/sbin/cm-service status' 'ss -ltn'; do
    echo "==> $line"; $line
done
for file in /var/log/cloud-init-output.log /var/log/cm/*.log; do
    if [ -f "$file" ]; then echo "==> $file"; tail -n 200 "$file"; fi
done
exit 0
"""


async def diagnose(
    home: Home, name: str | None, file: Path | None, environ: Mapping[str, str]
) -> tuple[Path, list[str]]:
    """Write the archive and return its path and the names of what is in it.

    Args:
        home: whose.
        name: the cluster that is in trouble, whose nodes are asked too; None for what there is without any node.
        file: the archive; None for a new file in the current folder.
        environ: the environment, whose secrets are removed as well.

    Raises:
        NotFound: there never was such a cluster.
        UsageError: the archive exists already, or can't be written.

    """
    target = file or Path(f"cm-doctor-{name or 'all'}-{datetime.now(UTC):%Y%m%dT%H%M%S}.tar.gz")
    with State(home) as state:
        if name is not None and not state.operations(name):
            state.cluster(name)
        there = state.cluster_names()
        known = _known_secrets(home, state, environ)
        texts = {**_of_home(home, state, environ), **_of_files(home, name)}
        if name in there:
            texts |= await _of_nodes(home, state, name)
    for cluster in [name] if name else there:
        texts[f"clusters/{cluster}/events.json"] = _json(inspect.events(home, cluster))
    archive = tarball({path: (redact(text, known).encode(), 0o600) for path, text in sorted(texts.items())})
    _write(target, archive)
    return target, sorted(texts)


def _of_home(home: Home, state: State, environ: Mapping[str, str]) -> dict[str, str]:
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = "absent"
    clusters = [{**asdict(each), "record": json.loads(encode(state.record(each.name)))} for each in state.clusters()]
    return {
        "info.json": _json({**inspect.information(home, environ), "libraries": versions}),
        "clusters.json": _json(clusters),
        "history.json": _json(inspect.history(home, None)),
    }


def _of_files(home: Home, name: str | None) -> dict[str, str]:
    """Return what lies in files that hold no key: settings, profiles, and what the operations left as evidence."""
    found = [home.providers_file, *sorted(home.profiles.glob("*.y*ml"))]
    for cluster in [home.cluster(name)] if name else sorted(home.clusters.glob("*")):
        found += [cluster / "ssh_config", cluster / "known_hosts", *sorted((cluster / "logs").rglob("*"))]
    return {str(path.relative_to(home.root)): _end_of(path) for path in found if path.is_file()}


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST))
        return file.read().decode("utf-8", "replace")


async def _of_nodes(home: Home, state: State, name: str) -> dict[str, str]:
    """Return what the nodes tell of themselves; of one that does not answer, why not."""
    record, nodes = state.record(name), state.cluster(name).nodes
    try:
        provider = provider_of(home, record.provider_type, record.provider_settings)
        async with asyncio.timeout(4 * ANSWER), connections_of(home, state, name, provider) as connections:
            results = await connections.run_all(nodes, shlex.join(["bash", "-c", ASK]), timeout=ANSWER)
    except (CmError, OSError) as error:
        return {f"clusters/{name}/nodes.txt": f"the nodes could not be asked: {error}\n"}
    return {f"clusters/{name}/nodes/{each.node}.txt": f"{each.stdout}{each.stderr}" for each in results}


def _known_secrets(home: Home, state: State, environ: Mapping[str, str]) -> list[str]:
    """Return the secrets that `cm` knows by heart: of the environment, of settings, and those of plugins."""
    records = [json.loads(encode(state.record(each))) for each in state.cluster_names()]
    kept = [secret for folder in sorted(home.clusters.glob("*")) for secret in known_secrets(home, folder.name)]
    return [*secret_values(dict(environ)), *secret_values(records), *_of_settings(home), *kept]


def _of_settings(home: Home) -> Iterator[str]:
    for path in (home.providers_file, *home.profiles.glob("*.y*ml")):
        # What can't be read as YAML holds nothing here, and is redacted by its looks alone.
        yield from secret_values(Source.read(path).root.plain())


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, default=str) + "\n"


def _write(target: Path, archive: bytes) -> None:
    """Write a compressed copy of an archive to a new file, readable for its owner only, or through a link or a device.

    Raises:
        UsageError: the file exists, or can't be written.

    """
    import gzip

    through = is_written_through(target) and not would_be_lost(target)
    new = os.O_CREAT if through else os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(target, os.O_WRONLY | new, 0o600)
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}", hint="name another file: -o FILE") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(gzip.compress(archive))
