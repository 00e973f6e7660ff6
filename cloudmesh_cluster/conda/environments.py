"""What is kept of a cluster's environments: for each one its lock, and the digest of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cloudmesh_cluster.core.codec import decode, encode
from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.files import make_private, write_atomically
from cloudmesh_cluster.core.home import Home

Fetch = Literal["client", "head"]
"""Who fetches packages: this machine, or the master of the cluster."""
_SHOWN = 12  # hexadecimal digits of a digest that make a folder's name


@dataclass(frozen=True)
class Package:
    """A package of a lock, exactly: its build, where it came from (without secrets), and its SHA-256."""

    name: str
    version: str
    build: str
    channel: str
    url: str
    sha256: str


@dataclass(frozen=True)
class CondaEnvironment:
    """An environment of a cluster.

    Args:
        name: of the environment.
        specs: what was asked for; empty where a whole prefix was pushed.
        channels: where packages come from, by priority, without secrets.
        target: the nodes that have it.
        install_prefix: the folder on the nodes below which it lies.
        platform: conda's word for the nodes' system, such as "linux-64".
        virtual_packages: what the nodes have that is no package: `__glibc=2.36`.
        packages: the lock.
        digest: tells this environment from every other one.
        archive_sha256: of the archive that is pushed to the nodes.
        link_scripts: packages whose post-link script is run on the nodes, in order: NAME=VERSION=BUILD_NUMBER.
        fetch: who fetches the packages: "client" or "head".
        pushed: whether it came whole from a prefix, so that it can't be solved again.
        made_at: ISO 8601, UTC.

    """

    name: str
    specs: tuple[str, ...]
    channels: tuple[str, ...]
    target: str
    install_prefix: str
    platform: str
    virtual_packages: tuple[str, ...]
    packages: tuple[Package, ...]
    digest: str
    archive_sha256: str = ""
    link_scripts: tuple[str, ...] = ()
    fetch: Fetch = "client"
    pushed: bool = False
    made_at: str = ""

    @property
    def prefix(self) -> str:
        """The path that users type: a link to the folder of the digest."""
        return f"{self.install_prefix}/envs/{self.name}"

    @property
    def folder(self) -> str:
        """The folder on the nodes that holds exactly this lock."""
        return f"{self.install_prefix}/.environments/{self.name}/{self.digest}"

    def with_digest(self) -> CondaEnvironment:
        """Return the environment with the digest of its packages and place."""
        parts = [self.install_prefix, self.name, *(f"{p.name}={p.version}={p.build} {p.sha256}" for p in self.packages)]
        return replace(self, digest=hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_SHOWN])


class Environments:
    """The environments of one cluster, in its folder below `CM_HOME`."""

    def __init__(self, home: Home, cluster: str) -> None:
        self.folder = home.cluster(cluster) / "conda"

    def all(self) -> list[CondaEnvironment]:
        """Return all environments by name."""
        # What belongs to one lock of an environment has the lock's digest after an @ in its name.
        files = [file for file in sorted(self.folder.glob("*.json")) if "@" not in file.name]
        return [decode(CondaEnvironment, file.read_text()) for file in files]

    def find(self, name: str) -> CondaEnvironment | None:
        """Return an environment, None when there is none of that name."""
        file = self.folder / f"{name}.json"
        return decode(CondaEnvironment, file.read_text()) if file.exists() else None

    def one(self, name: str) -> CondaEnvironment:
        """Return an environment.

        Raises:
            NotFound: there is none of that name.

        """
        if found := self.find(name):
            return found
        known = [each.name for each in self.all()]
        raise NotFound("environment", name, known, hint="" if known else "make it: cm conda create NAME -n ENV SPEC...")

    def write(self, environment: CondaEnvironment) -> None:
        """Make this what nodes are to have under its name; what older locks of it left is removed."""
        make_private(self.folder)
        text = json.dumps(json.loads(encode(environment)), indent=1)
        write_atomically(self.folder / f"{environment.name}.json", text.encode())
        for file in self._files(environment.name):
            if f"@{environment.digest}." not in file.name:
                file.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Forget an environment."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        for file in self._files(name):
            file.unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Forget all environments."""
        for environment in self.all():
            self.remove(environment.name)

    def _files(self, name: str) -> Sequence[Path]:
        return list(self.folder.glob(f"{name}@*"))

    def lock_file(self, environment: CondaEnvironment) -> Path:
        """Return the file of the lock, in the format that rattler and pixi read."""
        return self._file(environment, "lock")

    def manifest_file(self, environment: CondaEnvironment) -> Path:
        """Return the file with the digest of every file of the environment."""
        return self._file(environment, "files")

    def archive_file(self, environment: CondaEnvironment) -> Path:
        """Return the archive of an environment that was pushed whole; others can be made again from their lock."""
        return self._file(environment, "tar.gz")

    def _file(self, environment: CondaEnvironment, kind: str) -> Path:
        make_private(self.folder)
        return self.folder / f"{environment.name}@{environment.digest}.{kind}"
