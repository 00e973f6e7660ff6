"""What role scripts are told of a plugin's settings and of the sizes of nodes: shell assignments for them to source."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from cloudmesh_cluster.core.model import RoleName, RoleSpec
from cloudmesh_cluster.core.redaction import in_channels as redacted
from cloudmesh_cluster.core.redaction import redact
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.secret_settings import secret_settings, variable

DEFAULT_MEMORY = 2048
DEFAULT_CPUS = 1.0


def settings_sh(chosen: ChosenPlugin, *, master: RoleSpec, worker: RoleSpec, role: RoleName) -> bytes:
    """Return the settings and the sizes of nodes as shell assignments, for the role scripts to source.

    Args:
        chosen: the plugin.
        master: the size of the master.
        worker: the size of each worker.
        role: of the node that gets them.

    """
    own = master if role == "master" else worker
    private = private_texts(chosen)
    secrets = {setting.name for setting in secret_settings(chosen)}
    values: dict[str, object] = {
        # Everybody on a node can read this.
        variable(name): "" if name in private else redacted(_shell(value))
        for name, value in chosen.settings.items()
        if name not in secrets
    }
    values |= {
        "CM_MEMORY_MB": own.memory or DEFAULT_MEMORY,
        "CM_CPUS": _whole(own.cpus),
        "CM_WORKER_MEMORY_MB": worker.memory or DEFAULT_MEMORY,
        "CM_WORKER_CPUS": _whole(worker.cpus),
    }
    return "".join(f"{name}={shlex.quote(_shell(value))}\n" for name, value in values.items()).encode()


def private_texts(chosen: ChosenPlugin) -> dict[str, str]:
    """Return the texts among a plugin's settings that look as if a secret was in them, for root of the nodes alone."""
    texts = {setting.name: _shell(chosen.settings.get(setting.name)) for setting in chosen.plugin.settings
             if setting.type == "text"}  # fmt: skip
    return {name: redacted(text) for name, text in texts.items() if redact(redacted(text)) != redacted(text)}


def _whole(cpus: float | None) -> int:
    return max(1, int(cpus or DEFAULT_CPUS))


def _shell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        # bash reckons with whole numbers only.
        value = int(value)
    if isinstance(value, Mapping):
        return "\n".join(f"{name} {' '.join(items)}" for name, items in value.items())
    if isinstance(value, tuple):
        return "\n".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
