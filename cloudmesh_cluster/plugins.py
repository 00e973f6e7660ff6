"""Plugins: folders of role scripts with a `plugin.yaml` that says what they need, serve and check."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, cast

from cloudmesh_cluster.errors import InvalidInput, NotFound
from cloudmesh_cluster.home import Home
from cloudmesh_cluster.model import Check, PluginUse, Problem, RoleName
from cloudmesh_cluster.profile_schema import read_check
from cloudmesh_cluster.resources import resource
from cloudmesh_cluster.yaml_nodes import Mark, Written
from cloudmesh_cluster.yaml_source import Source, Value

PayloadKind = Literal["maven", "pip"]
SettingType = Literal["text", "integer", "number", "boolean", "size", "duration", "port", "list", "lists", "secret"]
SETTING_TYPES: tuple[SettingType, ...] = (
    "text", "integer", "number", "boolean", "size", "duration", "port", "list", "lists", "secret"
)  # fmt: skip
FIREWALL_PACKAGE = "nftables"
LISTEN_TO = "listen_to"
"""The setting of every plugin with ports that says whom it serves: `cluster`, or the whole `network`."""
_NAME = r"[a-z][a-z0-9-]{0,29}"
_SETTING_NAME = r"[a-z][a-z0-9_]{0,39}"
_REFERENCE = r"@[^\n]+|env:[A-Za-z_][A-Za-z0-9_]*"
_FILE = r"[a-z][a-z0-9.-]*"
_USER = r"[a-z_][a-z0-9_-]{0,31}"
_PACKAGE_NAME = r"[a-z0-9][a-z0-9+.-]+"


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


_Named = TypeVar("_Named", Setting, Port, Check)


@dataclass(frozen=True)
class ChosenPlugin:
    """A plugin with all its settings, defaults filled in."""

    plugin: Plugin
    settings: Mapping[str, object]


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
    """Return a plugin that serves something with the setting that says whom, and what refuses the others."""
    if not plugin.ports or any(setting.name == LISTEN_TO for setting in plugin.settings):
        return plugin
    what = "whom it serves: cluster, its nodes and cm; network, all who reach them; empty, what the profile says"
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
    return replace(setting, default=_typed(value["default"], setting))


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


def _typed(value: Value, setting: Setting) -> object:
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


def resolve(uses: Sequence[PluginUse], home: Home) -> tuple[ChosenPlugin, ...]:
    """Return plugins with their settings, those that others require first.

    Raises:
        NotFound: there is no such plugin.
        InvalidInput: names all settings that are wrong.

    """
    known = find_plugins(home)
    given = {use.name: use for use in uses}
    chosen: dict[str, ChosenPlugin] = {}
    problems: list[Problem] = []

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in chosen:
            return
        if name not in known:
            raise NotFound("plugin", name, sorted(known))
        if name in path:
            raise InvalidInput([Problem(f"plugin {name}", f"requires itself: {' -> '.join((*path, name))}")])
        plugin = load_plugin(known[name])
        for required in plugin.requires:
            add(required, (*path, name))
        settings = _settings(plugin, given.get(name), problems)
        chosen[name] = ChosenPlugin(replace(plugin, ports=_ports(plugin, settings)), settings)

    for use in uses:
        add(use.name, ())
    problems += _two_of_one(chosen)
    if problems:
        raise InvalidInput(problems)
    return tuple(chosen.values())


def _two_of_one(chosen: Mapping[str, ChosenPlugin]) -> list[Problem]:
    """Return the plugins that can't be on one cluster, since they are parts of the same one."""
    wholes: dict[str, list[str]] = {}
    for name, each in chosen.items():
        wholes.setdefault(each.plugin.whole, []).append(name)
    return [
        Problem(f"plugins {' and '.join(names)}", f"are parts of {whole}", hint=f"{whole} has all of them")
        for whole, names in wholes.items()
        if len(names) > 1
    ]


def _settings(plugin: Plugin, use: PluginUse | None, problems: list[Problem]) -> dict[str, object]:
    if use is None:
        return {setting.name: setting.default for setting in plugin.settings}
    source = Source.of_plain(dict(use.settings), name=plugin.name, path=f"plugins.{plugin.name}")
    settings = {setting.name: _typed(source[setting.name], setting) for setting in plugin.settings}
    problems += source.problems
    return settings


def _ports(plugin: Plugin, settings: Mapping[str, object]) -> tuple[Port, ...]:
    """Return the ports of a plugin with the numbers that its settings say."""
    return tuple(
        replace(port, number=cast("int", settings[port.setting])) if port.setting else port for port in plugin.ports
    )
