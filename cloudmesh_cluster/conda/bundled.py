"""Environments that a bundle brought: locks that were made on another machine, found again by what was asked for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cloudmesh_cluster.conda import archives
from cloudmesh_cluster.conda.environments import CondaEnvironment
from cloudmesh_cluster.conda.settings import CondaSettings
from cloudmesh_cluster.core.codec import decode, encode
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import write_atomically
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.redaction import in_channels as redacted


def key_of(name: str, settings: CondaSettings) -> str:
    """Return what tells an environment of a profile from any other."""
    asked = [name, settings.environments[name], list(map(redacted, settings.channel_words())), settings.install_prefix]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def lock_file(home: Home, key: str) -> Path:
    """Return the file of a bundled lock."""
    return home.cache / "conda" / "bundled" / f"{key}.lock"


def keep(home: Home, key: str, environment: CondaEnvironment) -> list[Path]:
    """Remember an environment that has been built, beside its lock; return all files that make it up."""
    about = lock_file(home, key).with_suffix(".json")
    write_atomically(about, encode(environment).encode(), mode=0o644)
    return [about, lock_file(home, key), *archives.files_of(environment, home)]


def find(home: Home, name: str, settings: CondaSettings) -> CondaEnvironment | None:
    """Return the environment of a profile that a bundle brought, None where it brought none or its archive is gone.

    Raises:
        UsageError: what the bundle brought is another environment, or makes no sense.

    """
    about = lock_file(home, key_of(name, settings)).with_suffix(".json")
    if not about.exists():
        return None
    try:
        environment = decode(CondaEnvironment, about.read_text())
        fits = environment == environment.with_digest() and _asked(environment) == (
            name, settings.environments[name], settings.install_prefix
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError):
        fits = False
    if not fits:
        raise UsageError(f"{about} does not describe environment {name!r}", hint="remove it, or use another bundle")
    return environment if archives.cached(environment, home) else None


def _asked(environment: CondaEnvironment) -> tuple[str, tuple[str, ...], str]:
    return environment.name, environment.specs, environment.install_prefix
