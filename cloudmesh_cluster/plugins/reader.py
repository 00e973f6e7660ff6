"""Reads a plugin from the folder that has its `plugin.yaml` and its role scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from cloudmesh_cluster.config.profile_schema import read_check
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Check, RoleName
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.core.yaml_reader import Source, Value
from cloudmesh_cluster.core.yaml_tree import Mark, Written
from cloudmesh_cluster.plugins.model import (
    FIREWALL_PACKAGE,
    LISTEN_TO,
    SETTING_TYPES,
    Keep,
    Payload,
    PayloadKind,
    Plugin,
    Port,
    SecretFile,
    Setting,
    SettingType,
)

_NAME = r"[a-z][a-z0-9-]{0,29}"
_SETTING_NAME = r"[a-z][a-z0-9_]{0,39}"
_REFERENCE = r"@[^\n]+|env:[A-Za-z_][A-Za-z0-9_]*"
_FILE = r"[a-z][a-z0-9.-]*"
_USER = r"[a-z_][a-z0-9_-]{0,31}"
_PACKAGE_NAME = r"[a-z0-9][a-z0-9+.-]+"
_Named = TypeVar("_Named", Setting, Port, Check)


def find_plugins(home: Home) -> dict[str, Path]:
    """Return the folders of all plugins by name: the built-in ones, and the user's, which come first.

    A folder whose name is no name for a plugin is none.
    """
    folders = [resource("scripts"), home.plugins]
    files = [file for folder in folders for file in sorted(folder.glob("*/plugin.yaml"))]
    return {file.parent.name: file.parent for file in files if re.fullmatch(_NAME, file.parent.name)}


def load_plugin(folder: Path) -> Plugin:
    """Read a plugin.

    Raises:
        InvalidInput: names all problems of its `plugin.yaml`.

    """
    source = Source.read(folder / "plugin.yaml", name=str(folder / "plugin.yaml"))
    plugin = _read_whole(source, folder) if source["part_of"].missing else _read_part(source, folder)
    source.finish()
    return _with_firewall(plugin)


def _with_firewall(plugin: Plugin) -> Plugin:
    """Give a plugin with ports the setting `listen_to`, and the package of the firewall."""
    if not plugin.ports or any(setting.name == LISTEN_TO for setting in plugin.settings):
        return plugin
    what = "who can reach it: cluster, its nodes and cm; network, everybody; empty, as the profile says"
    setting = Setting(LISTEN_TO, "text", "", what, choices=("cluster", "network"))
    packages = tuple(dict.fromkeys((*plugin.packages, FIREWALL_PACKAGE)))
    return replace(plugin, settings=(*plugin.settings, setting), packages=packages)


def _read_whole(source: Source, folder: Path) -> Plugin:
    settings = tuple(_read_setting(name, value) for name, value in source["settings"].entries())
    return Plugin(
        name=folder.name,
        description=source["description"].required().text(""),
        version=source["version"].text(""),
        folder=folder,
        settings=settings,
        requires=source["requires"].texts(),
        packages=tuple(
            item.text("", pattern=_PACKAGE_NAME, form="the name of a Debian package")
            for item in source["packages"].items()
        ),
        payload=_read_payload(source["payload"], folder),
        secrets=tuple(map(_read_secret, source["secrets"].items())),
        certificates=source["certificates"].text(""),
        ports=tuple(_read_port(name, value, settings) for name, value in source["ports"].entries()),
        order=cast(
            "tuple[RoleName, ...]",
            tuple(item.text("master", choices=("master", "worker")) for item in source["order"].items())
            or ("master", "worker"),
        ),
        needs_internet=source["needs_internet"].boolean(False),
        checks=tuple(read_check(item) for item in source["checks"].items()),
        users=tuple(item.text("", pattern=_USER, form="a login name") for item in source["users"].items()),
    )


def _read_part(source: Source, folder: Path) -> Plugin:
    """Read a plugin that has the scripts of one beside it, and chooses from its settings, ports and checks."""
    name = source["part_of"].text("", pattern=_NAME, form="the name of a plugin")
    description = source["description"].required().text("")
    if not (folder.parent / name / "plugin.yaml").is_file():
        source["part_of"].report(f"there is no plugin {name!r} in {folder.parent}")
        return Plugin(folder.name, description, "", folder)
    whole = load_plugin(folder.parent / name)
    return replace(
        whole,
        name=folder.name,
        description=description,
        settings=_choice(source["settings"], whole.settings),
        ports=_choice(source["ports"], whole.ports),
        checks=tuple(check for item in source["checks"].items() for check in _part_checks(item, whole, folder.name)),
        part_of=name,
    )


def _choice(names: Value, known: Sequence[_Named]) -> tuple[_Named, ...]:
    return tuple(each for item in names.items() for each in _named(item, known))


def _named(item: Value, known: Sequence[_Named]) -> list[_Named]:
    """Return what has the name that is written, alone; nothing has it when there is a problem."""
    if not known:
        item.report("the plugin of which this is a part has none")
    name = item.text("", choices=[each.name for each in known])
    return [each for each in known if each.name == name]


def _part_checks(item: Value, whole: Plugin, part: str) -> list[Check]:
    """Return a check of the part's own, or one of the whole by its name; its scripts lie in the part's folder there."""
    if item.is_mapping:
        return [read_check(item)]
    there, here = f"/plugins/{whole.name}/", f"/plugins/{part}/"
    return [replace(check, run=check.run and check.run.replace(there, here)) for check in _named(item, whole.checks)]


def _read_setting(name: Written, value: Value) -> Setting:
    if not re.fullmatch(_SETTING_NAME, name):
        value.report(f"{name!r} is no name for a setting", hint="lower-case letters, digits and _")
    kind = cast("SettingType", value["type"].text("text", choices=SETTING_TYPES))
    setting = Setting(
        name, kind, None, value["description"].required().text(""),
        least=value["least"].integer(None), choices=value["choices"].texts(),
        optional=value["optional"].boolean(False),
    )  # fmt: skip
    if kind == "secret" and not value["default"].missing:
        value["default"].report("a secret has no default", hint="optional: true where it may be left out")
        return setting
    return replace(setting, default=typed(value["default"], setting))


def _read_secret(item: Value) -> SecretFile:
    """Read the name of a file, or `{name, role}`."""
    name = item["name"].required() if item.is_mapping else item
    role = item["role"].text(None, choices=("master", "worker")) if item.is_mapping else None
    return SecretFile(name.text("", pattern=_FILE, form="a file's name"), cast("RoleName | None", role))


def _read_payload(value: Value, folder: Path) -> Payload | None:
    if value.missing:
        return None
    kind = cast("PayloadKind", value["kind"].required().text("maven", choices=("maven", "pip")))
    keep = tuple(Keep(rule["from"].required().regex(""), rule["to"].text("")) for rule in value["keep"].items())
    payload = Payload(
        kind=kind,
        lock=_file_of(folder, value["lock"]),
        source=value["source"].text("source"),
        digest=value["digest"].text("source_digest"),
        pom=_file_of(folder, value["pom"]) if kind == "maven" else "",
        python=value["python"].required().text("", pattern=r"3\.\d+", form='a Python, such as "3.11"')
        if kind == "pip"
        else "",
        role=cast("RoleName | None", value["role"].text(None, choices=("master", "worker"))),
    )
    return replace(payload, keep=keep) if keep else payload


def _file_of(folder: Path, value: Value) -> str:
    name = value.required().text("")
    if name and not (folder / name).is_file():
        value.report(f"there is no file {name} in {folder}")
    return name


def _read_port(name: Written, value: Value, settings: Sequence[Setting]) -> Port:
    chosen = value["setting"].text("")
    if chosen and (chosen, "port") not in {(setting.name, setting.type) for setting in settings}:
        value["setting"].report(f"{chosen!r} is no setting of type port")
    return Port(
        name,
        value["number"].required().integer(1, least=1, most=65535),
        cast("RoleName", value["role"].text("master", choices=("master", "worker"))),
        value["ui"].boolean(False),
        value["path"].text("/", pattern="/.*", form="a path that begins with /"),
        value["token"].text("", pattern="/.+", form="the path of a file on the node"),
        value["when"].text(""),
        chosen,
        value["inner"].boolean(False),
    )


def typed(value: Value, setting: Setting) -> object:
    """Return a value of a setting; its default where there is none."""
    kind = setting.type
    if value.missing or value.is_null:
        return setting.default
    if kind == "secret":
        return _reference(value)
    if setting.choices and not value.text("", choices=setting.choices):
        return setting.default
    if kind == "text":
        return value.text("")
    if kind == "list":
        return _texts(value)
    if kind == "lists":
        return {str(name): _texts(item) for name, item in value.entries()}
    if kind == "integer":
        return value.integer(0, least=setting.least)
    if kind == "port":
        return value.integer(0, least=1, most=65535)
    if kind == "number":
        return value.number(0.0)
    if kind == "boolean":
        return value.boolean(False)
    return value.size(0) if kind == "size" else value.duration(0.0)


def _reference(value: Value) -> object:
    """Return where a secret is; the secret itself, where somebody wrote it, is repeated in no message."""
    text = value.text("") if value.is_scalar else ""
    if re.fullmatch(_REFERENCE, text):
        return text
    mark = value.mark if value.mark.line else Mark(0, 0, "--set")
    what = "a secret is given as @FILE or env:NAME: it stands in no profile and in no command line"
    value.source.report(mark, value.path, what, hint="write it into a file that only you can read")
    return None


def _texts(value: Value) -> tuple[str, ...]:
    """Return a list of texts; a single text, as `--set` gives it, is split at its blanks."""
    return tuple(value.text("").split()) if value.is_scalar else tuple(map(str, value.texts()))
