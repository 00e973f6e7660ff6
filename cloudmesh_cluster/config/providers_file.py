"""`providers.yaml`: named providers with their settings, and which one a cluster is made on."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from cloudmesh_cluster.core.errors import InvalidInput, NotFound, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Problem
from cloudmesh_cluster.core.yaml_reader import Source, Value

ProviderType = Literal["local", "openstack", "baremetal"]
TYPES: tuple[ProviderType, ...] = get_args(ProviderType)
ALIASES: Mapping[str, ProviderType] = {"bare_metal": "baremetal"}

EC2_KEYS = ("keyname", "location", "secret_id", "secret_key", "security_group", "vpc_id")
"""Keys of acluster's providers that mean nothing for machines that exist."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SMALLEST_NETWORK = 28
_VARIABLES = ("OS_CLOUD", "OS_AUTH_URL")
_NOTHING: Mapping[str, str | None] = {}


@dataclass(frozen=True)
class ProviderEntry:
    """A provider as `providers.yaml` names it."""

    name: str
    type: ProviderType
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Providers:
    """What `providers.yaml` holds: the name or type that `default:` gives, and the entries by name."""

    default: str | None = None
    entries: Mapping[str, ProviderEntry] = field(default_factory=dict)


@dataclass(frozen=True)
class ProviderChoice:
    """The provider of a cluster: the word it was found by, its type and settings, and why this one."""

    name: str
    type: ProviderType
    settings: Mapping[str, object]
    why: str


def load_providers(home: Home) -> Providers:
    """Return what the user's `providers.yaml` holds; without that file, nothing.

    Raises:
        InvalidInput: with all problems of the file; that others may read it is one, for it holds secrets.

    """
    path = home.providers_file
    if not path.exists():
        return Providers()
    _refuse_readable_by_others(path)
    source = Source.read(path)
    providers = _read_providers(source, folder=path.parent)
    source.finish()
    return providers


def choose_provider(
    home: Home,
    *,
    option: str | None,
    profile: str | None,
    environ: Mapping[str, str],
    openstack: Mapping[str, str | None] = _NOTHING,
) -> ProviderChoice:
    """Return the provider to use: the option's, else the profile's, else `default:`, else what is at hand.

    Args:
        home: where `providers.yaml` lies.
        option: `--provider`.
        profile: the provider that the profile names.
        environ: the environment; `OS_CLOUD` or `OS_AUTH_URL` stand for OpenStack.
        openstack: settings that options say instead, None where they say nothing; they stand for OpenStack, too.

    Raises:
        NotFound: the word is neither a name in `providers.yaml` nor a type.
        UsageError: the provider has no such settings.
        InvalidInput: `providers.yaml` has problems.

    """
    providers = load_providers(home)
    given = {name: value for name, value in openstack.items() if value is not None}
    options = {_option(name): value for name, value in given.items()}
    word, why = _word(option, profile, providers.default, {**options, **environ}, (*options, *_VARIABLES))
    entry = providers.entries.get(word)
    if entry is None:
        kind = next((each for each in TYPES if each == word), ALIASES.get(word))
        if kind is None:
            raise NotFound("provider", word, [*providers.entries, *TYPES])
        entry = ProviderEntry(word, kind)
    if options and entry.type != "openstack":
        hint = "--provider openstack, or leave it out"
        raise UsageError(f"{', '.join(options)}: provider {word!r} ({why}) is {entry.type}, no OpenStack", hint=hint)
    settings = {**entry.settings, **given}
    if entry.type == "openstack" and environ.get("OS_CLOUD"):
        # Later commands must not look for the cluster in the cloud that the environment names by then.
        settings.setdefault("os_cloud", environ["OS_CLOUD"])
    return ProviderChoice(word, entry.type, settings, why)


def _option(setting: str) -> str:
    return "--" + setting.replace("_", "-")


def _word(
    option: str | None, profile: str | None, default: str | None, given: Mapping[str, str], signs: Sequence[str]
) -> tuple[str, str]:
    if option:
        return option, "--provider"
    if profile:
        return profile, "the profile says so"
    if default:
        return default, "default in providers.yaml"
    for sign in signs:
        if given.get(sign):
            return "openstack", f"{sign} is {'given' if sign.startswith('--') else 'set'}"
    return "local", "no other is configured"


def _refuse_readable_by_others(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        what = f"is open to other users (mode {mode:04o})"
        raise InvalidInput([Problem(str(path), what, f"chmod 600 {path}")])


def _read_providers(source: Source, *, folder: Path) -> Providers:
    default = source["default"].text(None)
    entries: dict[str, ProviderEntry] = {}
    for name, value in source.root.entries():
        if name == "default":
            continue
        if value.missing or value.is_scalar or value.is_list:
            value.report("expected a mapping with a type and settings", hint="NAME: {type: local}")
        else:
            entries[str(name)] = _read_entry(str(name), value, folder=folder)
    if default is not None and default not in entries and default not in (*TYPES, *ALIASES):
        known = ", ".join([*entries, *TYPES])
        source["default"].report(f"no provider named {default!r}", hint=f"known: {known}")
    return Providers(default, entries)


def _read_entry(name: str, value: Value, *, folder: Path) -> ProviderEntry:
    if not value["cloud_provider"].missing:
        return ProviderEntry(name, "baremetal", _read_acluster(value, folder=folder))
    kind = cast("ProviderType", value["type"].required().text("local", choices=TYPES))
    if kind == "local":
        return ProviderEntry(name, kind, _read_local(value, folder=folder))
    if kind == "baremetal":
        return ProviderEntry(name, kind, _read_baremetal(value, folder=folder))
    settings = cast("dict[str, object]", value.plain())
    return ProviderEntry(name, kind, {key: item for key, item in settings.items() if key != "type"})


def _read_local(value: Value, *, folder: Path) -> dict[str, object]:
    image = value["image"].text(None)
    settings = {
        "mirror": value["mirror"].text(None, pattern=r"(https?|file)://\S+", form="a URL (https://...)"),
        "image": None if image is None else str(folder / Path(image).expanduser()),
        "network": _read_network(value["network"]),
        "host_access": value["host_access"].boolean(None),
    }
    return {key: item for key, item in settings.items() if item is not None}


def _read_baremetal(value: Value, *, folder: Path) -> dict[str, object]:
    paths = {key: value[key].text(None) for key in ("private_key", "ssh_config")}
    return {key: str(folder / Path(path).expanduser()) for key, path in paths.items() if path is not None}


def _read_acluster(value: Value, *, folder: Path) -> dict[str, object]:
    """Read a provider of Anaconda's `acluster`; of its keys for EC2, secrets among them, none is kept."""
    if value["cloud_provider"].text("none", choices=("none", "ec2")) == "ec2":
        value["cloud_provider"].report("cm makes no machines on EC2", hint="none, for machines that exist")
    for key in EC2_KEYS:
        value[key].text(None)
    return _read_baremetal(value, folder=folder)


def _read_network(value: Value) -> str | None:
    text = value.text(None)
    if text is None:
        return None
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        value.report(f"{text!r} is no IPv4 network: {error}", hint="for example 10.88.0.0/16")
        return None
    if network.prefixlen > _SMALLEST_NETWORK or not network.is_private:
        value.report(f"expected a private network of at least /{_SMALLEST_NETWORK}, got {text}")
    return text
