"""What the plugin `conda` lets a profile say about environments, and the defaults where a cluster hasn't the plugin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast, get_args

from cloudmesh_cluster.conda.environments import Fetch
from cloudmesh_cluster.core.errors import InvalidInput
from cloudmesh_cluster.core.model import Problem

PLUGIN = "conda"
READ_BY_THE_CLIENT = ("environments", "channels", "default_channels", "channel_alias", "ssl_verify")
"""Settings in which paths and variables are those of the machine where `cm` runs."""
ROOT = "root"
"""The environment that is meant when none is named."""
ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_PREFIX = re.compile(r"/[A-Za-z0-9_./+-]{1,99}")


@dataclass(frozen=True)
class CondaSettings:
    """Where environments lie on the nodes and where packages come from; see `scripts/conda/plugin.yaml`."""

    install_prefix: str = "/opt/anaconda"
    channels: tuple[str, ...] = ()
    default_channels: tuple[str, ...] = ()
    channel_alias: str = ""
    ssl_verify: str = "true"
    fetch: Fetch = "client"
    environments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def channel_words(self, extra: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the channels by priority: those of a command line first; `defaults` means the default channels.

        Without any, it is conda-forge.
        """
        words = [each for word in (*extra, *self.channels) for each in self._meant(word)]
        return tuple(dict.fromkeys(words)) or ("conda-forge",)

    def _meant(self, word: str) -> tuple[str, ...]:
        return self.default_channels if word == "defaults" and self.default_channels else (word,)


def read_settings(values: Mapping[str, object]) -> CondaSettings:
    """Return the settings of the plugin as they were resolved.

    Raises:
        InvalidInput: names all that make no sense.

    """
    problems = []
    prefix = str(values["install_prefix"]).rstrip("/")
    if not _PREFIX.fullmatch(prefix) or ".." in prefix.split("/"):
        problems.append(Problem("plugins.conda.install_prefix", f"{prefix!r} is no folder for environments", "a path"))
    ssl_verify = str(values["ssl_verify"])
    if ssl_verify.lower() in ("true", "false"):
        ssl_verify = ssl_verify.lower()
    elif not ssl_verify.startswith(("/", "~/")):
        what = f"{ssl_verify!r} is neither true nor false nor a path"
        problems.append(Problem("plugins.conda.ssl_verify", what, "the whole path of a file of certificates"))
    fetch = str(values["fetch"])
    if fetch not in get_args(Fetch):
        problems.append(Problem("plugins.conda.fetch", f"{fetch!r} fetches no packages", "client or head"))
    environments: dict[str, tuple[str, ...]] = values.get("environments") or {}  # type: ignore[assignment]  # by its type
    problems += [
        Problem(f"plugins.conda.environments.{name}", f"{name!r} is no name", "letters, digits, _ . -")
        for name in environments
        if not ENVIRONMENT_NAME.fullmatch(name)
    ]
    if problems:
        raise InvalidInput(problems)
    return CondaSettings(
        install_prefix=prefix,
        channels=tuple(values["channels"] or ()),  # type: ignore[arg-type]  # a list, by its type
        default_channels=tuple(values["default_channels"] or ()),  # type: ignore[arg-type]
        channel_alias=str(values["channel_alias"] or ""),
        ssl_verify=ssl_verify,
        fetch=cast("Fetch", fetch),
        environments=environments,
    )
