"""Plugins as data: what a `plugin.yaml` says that a plugin needs, serves and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudmesh_cluster.core.model import Check, RoleName

PayloadKind = Literal["maven", "pip"]
SettingType = Literal["text", "integer", "number", "boolean", "size", "duration", "port", "list", "lists", "secret"]
SETTING_TYPES: tuple[SettingType, ...] = (
    "text", "integer", "number", "boolean", "size", "duration", "port", "list", "lists", "secret"
)  # fmt: skip
FIREWALL_PACKAGE = "nftables"
LISTEN_TO = "listen_to"
"""The setting of every plugin with ports that says whom it serves: `cluster`, or the whole `network`."""


@dataclass(frozen=True)
class Setting:
    """What a profile may set of a plugin; `default` has the setting's type.

    An integer may have a smallest value, `least`, and a text or an integer may be one of `choices` only. The value of a
    secret is where it is (`@FILE`, `env:NAME`); one that is not `optional` must be given.
    """

    name: str
    type: SettingType
    default: object
    description: str
    least: int | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Port:
    """A port that a plugin serves on nodes of a role.

    Args:
        name: what it serves.
        number: the TCP port, where no setting says another.
        role: whose nodes serve it.
        ui: whether a browser can look at it.
        path: the page to open.
        token: the file on the node that holds what the page asks for, readable for root; empty for none.
        when: the setting that must be true for it to be served; empty for always.
        setting: the setting that holds the number; empty for none.
        inner: whether only services, root and the login user go there.

    """

    name: str
    number: int
    role: RoleName
    ui: bool
    path: str = "/"
    token: str = ""
    when: str = ""
    setting: str = ""
    inner: bool = False


@dataclass(frozen=True)
class Keep:
    """A rule for the files of an archive: those whose whole name matches `pattern` are kept at `place`.

    `place` may use the groups of `pattern`; when it is empty, the files are left out.
    """

    pattern: str
    place: str


@dataclass(frozen=True)
class Payload:
    """What a plugin installs that Debian has not, by files in the plugin's folder that name and pin it.

    Args:
        kind: "maven" or "pip".
        lock: for Maven the file with the SHA-256 of each file, as `sha256sum` writes it; for pip the requirements, each
            with its version and its digests.
        source: the setting that names another source: a path or an address.
        digest: the setting that holds the digest of that other source.
        pom: for Maven, the file that names the artifacts; `generate-resources` puts them into the folder `payload`.
        python: for pip, the Python of the nodes ("3.11").
        keep: which files of another source, and of what pip brings as sources, are kept, and where; the first rule that
            fits counts.
        role: whose nodes get it; None for all.

    """

    kind: PayloadKind
    lock: str
    source: str
    digest: str
    pom: str = ""
    python: str = ""
    keep: tuple[Keep, ...] = (Keep("(.+)", r"\1"),)
    role: RoleName | None = None


@dataclass(frozen=True)
class SecretFile:
    """A file of random content that only nodes of a role know; None for all nodes."""

    name: str
    role: RoleName | None = None


@dataclass(frozen=True)
class Plugin:
    """What `plugin.yaml` says; `folder` holds the role scripts, and `part_of` names the plugin they belong to.

    `users` are the users of the nodes' systems as whom its services run.
    """

    name: str
    description: str
    version: str
    folder: Path
    settings: tuple[Setting, ...] = ()
    requires: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    payload: Payload | None = None
    secrets: tuple[SecretFile, ...] = ()
    certificates: str = ""
    ports: tuple[Port, ...] = ()
    order: tuple[RoleName, ...] = ("master", "worker")
    needs_internet: bool = False
    checks: tuple[Check, ...] = ()
    part_of: str = ""
    users: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """The name of the plugin that this one is a part of, and that of any other one."""
        return self.part_of or self.name


@dataclass(frozen=True)
class ChosenPlugin:
    """A plugin with all its settings, defaults filled in."""

    plugin: Plugin
    settings: Mapping[str, object]

    def serves(self, port: Port) -> bool:
        """Return whether a port is served with the settings as they are."""
        return not port.when or bool(self.settings[port.when])

    @property
    def pages(self) -> tuple[Port, ...]:
        """The ports that a browser can look at, with the settings as they are."""
        return tuple(port for port in self.plugin.ports if port.ui and self.serves(port))
