"""Where everything lies: `CM_HOME` for what is yours, `CM_CACHE` for what can be made again."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError


@dataclass(frozen=True)
class Home:
    """The folders of one user of `cm`: `root` is `CM_HOME`, `cache` is `CM_CACHE`."""

    root: Path
    cache: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Home:
        """Return the home that `CM_HOME`, `CM_CACHE`, `XDG_CACHE_HOME` and `HOME` name."""
        user = Path(environ.get("HOME") or Path.home())
        root = Path(environ.get("CM_HOME") or user / ".cloudmesh")
        caches = Path(environ.get("XDG_CACHE_HOME") or user / ".cache")
        cache = Path(environ.get("CM_CACHE") or caches / "cloudmesh")
        return cls(root.expanduser().absolute(), cache.expanduser().absolute())

    def make(self) -> None:
        """Make the folders that are missing, for their owner only, whatever the umask.

        Raises:
            UsageError: one of them can't be made, or others could change what is in it.

        """
        for folder in (self.root, self.clusters, self.profiles, self.locks):
            _make(folder, "CM_HOME")
        _make(self.cache, "CM_CACHE")
        for folder, variable in ((self.root, "CM_HOME"), (self.cache, "CM_CACHE")):
            _refuse_if_others_may_write(folder, variable)

    @property
    def clusters(self) -> Path:
        """The folder that holds a folder for each cluster."""
        return self.root / "clusters"

    @property
    def locks(self) -> Path:
        """The folder of the lock files; they outlive their clusters, so that a lock is never lost."""
        return self.root / "locks"

    @property
    def profiles(self) -> Path:
        """The user's own profiles."""
        return self.root / "profiles.d"

    @property
    def plugins(self) -> Path:
        """The user's own plugins."""
        return self.root / "plugins"

    @property
    def providers_file(self) -> Path:
        """The file that names providers and their settings."""
        return self.root / "providers.yaml"

    @property
    def state_file(self) -> Path:
        """The journal."""
        return self.root / "state.db"

    @property
    def history_file(self) -> Path:
        """The lines typed into the shell."""
        return self.root / "history"

    def cluster(self, name: str) -> Path:
        """Return the folder of a cluster: its keys and known hosts."""
        return self.clusters / name

    def login_key(self, name: str) -> Path:
        """Return the file of the private key that opens the nodes of a cluster."""
        return self.cluster(name) / "id_ed25519"

    def bootstrap_key(self, name: str, operation: str) -> Path:
        """Return the file of the key that an operation boots nodes with; it is gone when the operation has ended."""
        return self.cluster(name) / f"bootstrap-{operation}"

    def secrets(self, name: str, plugin: str) -> Path:
        """Return the folder of what only the nodes of a cluster know, for one of its plugins."""
        return self.cluster(name) / "secrets" / plugin

    def known_hosts(self, name: str) -> Path:
        """Return the file of the pinned host keys, for the system's ssh."""
        return self.cluster(name) / "known_hosts"

    def ssh_config(self, name: str) -> Path:
        """Return the file that tells the system's ssh how to reach the nodes."""
        return self.cluster(name) / "ssh_config"

    def lock_file(self, name: str) -> Path:
        """Return the file whose flock makes an operation the only one on a cluster."""
        return self.locks / f"{name}.lock"

    def logs(self, name: str, operation: str) -> Path:
        """Return the folder of an operation's evidence; it outlives the cluster."""
        return self.cluster(name) / "logs" / operation


def _make(folder: Path, variable: str) -> None:
    try:
        for parent in reversed(folder.parents):
            if not parent.exists():
                parent.mkdir(mode=0o755, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        what = "is no folder" if isinstance(error, FileExistsError) else f"can't be made: {error.strerror}"
        raise UsageError(f"{folder} {what}", hint=f"set {variable} to a folder that you can write to") from error


def _refuse_if_others_may_write(folder: Path, variable: str) -> None:
    """Refuse what OpenSSH refuses for its files: keys, scripts and images lie there."""
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()):
        what = f"{folder} belongs to the user with the id {status.st_uid}, who could change what cm does"
        raise UsageError(what, hint=f"set {variable} to a folder of your own")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"others can write into {folder}", hint=f"chmod go-w {shlex.quote(str(folder))}")
