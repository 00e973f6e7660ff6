"""Profiles as plain data and YAML, and the changes that command-line options make to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloudmesh_cluster.errors import UsageError, did_you_mean
from cloudmesh_cluster.model import Check, PluginUse, Profile, RoleScript, RoleSpec
from cloudmesh_cluster.profile import MOST_WORKERS, read_profile
from cloudmesh_cluster.quantities import format_duration, format_size
from cloudmesh_cluster.yaml_nodes import Mark, Written
from cloudmesh_cluster.yaml_source import Source

_SETTABLE = ("provider", "user", "mesh", "roles")
_LISTS = ("plugins", "scripts", "checks")


def plain(profile: Profile) -> dict[str, Any]:
    """Return a profile as the data of its YAML, defaults filled in, scripts inline."""
    data: dict[str, Any] = {"name": profile.name, "provider": profile.provider, "user": profile.user}
    data["mesh"] = profile.mesh
    data["roles"] = {"master": _plain_role(profile.master), "worker": _plain_role(profile.worker)}
    data["plugins"] = [_plain_plugin(use) for use in profile.plugins]
    data["scripts"] = _plain_scripts(profile.scripts)
    data["checks"] = [_plain_check(check) for check in profile.checks]
    return {key: _without_nothing(value) for key, value in data.items() if value not in (None, [])}


def to_yaml(profile: Profile) -> str:
    """Return a profile as YAML that reads back as the same profile."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks, as people do."""

    def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)

    Dumper.add_representer(str, represent_text)
    Dumper.add_representer(Written, represent_text)
    return yaml.dump(plain(profile), Dumper=Dumper, sort_keys=False, allow_unicode=True, explicit_start=True)


def with_overrides(
    profile: Profile,
    *,
    provider: str | None = None,
    workers: int | None = None,
    image: str | None = None,
    flavor: str | None = None,
    settings: Sequence[str] = (),
) -> Profile:
    """Return the profile with what the command line says instead.

    Args:
        profile: what to start from.
        provider: `--provider`.
        workers: `-n`.
        image: `--image`, for both roles.
        flavor: `--flavor`, for both roles.
        settings: `--set`, each `PLUGIN.SETTING=VALUE` or `PROFILE.PATH=VALUE`; an empty value unsets.

    Raises:
        UsageError: a setting is malformed, unknown or of the wrong type, or `workers` is out of range.

    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"-n {workers}: a cluster has 1 to {MOST_WORKERS} workers", hint="for example -n 3")
    changed = _with_settings(profile, settings) if settings else profile
    count = changed.worker.count if workers is None else workers
    return replace(
        changed,
        provider=changed.provider if provider is None else provider,
        master=_sized(changed.master, image=image, flavor=flavor),
        worker=_sized(replace(changed.worker, count=count), image=image, flavor=flavor),
    )


def _sized(spec: RoleSpec, *, image: str | None, flavor: str | None) -> RoleSpec:
    return replace(
        spec,
        image=spec.image if image is None else image,
        flavor=spec.flavor if flavor is None else flavor,
    )


def _with_settings(profile: Profile, settings: Sequence[str]) -> Profile:
    data = plain(profile)
    data.pop("scripts", None)
    plugins: dict[str, dict[str, Any]] = {use.name: dict(use.settings) for use in profile.plugins}
    for setting in settings:
        path, value = _split(setting)
        if path[0] in plugins:
            _set(plugins[path[0]], path[1:], value, setting)
        elif path[0] in _SETTABLE:
            _set(data, path, value, setting)
        else:
            raise _unknown(path[0], profile, setting)
    data["plugins"] = [{name: given} for name, given in plugins.items()]
    source = Source.of_plain(data, name=profile.source)
    changed = read_profile(source, folder=Path(), default_name=profile.name)
    source.finish()
    return replace(changed, scripts=profile.scripts)


def _split(setting: str) -> tuple[list[Written], Written | None]:
    key, equals, value = setting.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise UsageError(f"--set {setting}: expected KEY=VALUE", hint="for example --set roles.worker.memory=2G")
    mark = Mark(0, 0, f"--set {setting}")
    return [Written(word, mark) for word in path], Written(value, mark) if value else None


def _set(data: dict[str, Any], path: Sequence[Written], value: Written | None, setting: str) -> None:
    if not path:
        raise UsageError(f"--set {setting}: names a plugin but no setting of it", hint="PLUGIN.SETTING=VALUE")
    for word in path[:-1]:
        below = data.get(word)
        data[word] = dict(below) if isinstance(below, Mapping) else {}
        data = data[word]
    data.pop(path[-1], None)
    data[path[-1]] = value


def _unknown(word: str, profile: Profile, setting: str) -> UsageError:
    if word in _LISTS or word == "name":
        return UsageError(f"--set {setting}: {word} can't be set here", hint="write a profile of your own")
    known = [*(use.name for use in profile.plugins), *_SETTABLE]
    what = f"--set {setting}: {word!r} is neither a plugin of profile {profile.name!r} nor one of its keys"
    return UsageError(what, hint=did_you_mean(word, known))


def _plain_role(spec: RoleSpec) -> dict[str, Any]:
    cpus = int(spec.cpus) if spec.cpus is not None and spec.cpus == int(spec.cpus) else spec.cpus
    return {
        "count": spec.count,
        "image": spec.image,
        "flavor": spec.flavor,
        "cpus": cpus,
        "memory": None if spec.memory is None else format_size(spec.memory),
        "volumes": [{"size": volume.size, "mount": volume.mount} for volume in spec.volumes],
    }


def _plain_plugin(use: PluginUse) -> Any:
    return {use.name: dict(use.settings)} if use.settings else use.name


def _plain_scripts(scripts: Sequence[RoleScript]) -> dict[str, list[dict[str, str]]] | None:
    data: dict[str, list[dict[str, str]]] = {}
    for script in scripts:
        text = script.content.decode("utf-8", "backslashreplace")
        data.setdefault(script.role, []).append({"name": script.name, "run": text})
    return data or None


def _plain_check(check: Check) -> dict[str, Any]:
    expect = {
        "exit": "any" if check.expect.exit is None else check.expect.exit,
        "stdout": check.expect.stdout,
        "stderr": check.expect.stderr,
        "count": check.expect.count,
    }
    return {
        "name": check.name,
        "on": check.on,
        "run": check.run,
        "port": check.port,
        "file": check.file,
        "expect": expect,
        "within": format_duration(check.within),
    }


def _without_nothing(data: Any) -> Any:
    if isinstance(data, Mapping):
        kept = {str(key): _without_nothing(value) for key, value in data.items()}
        return {key: value for key, value in kept.items() if value is not None and value not in ([], {})}
    if isinstance(data, list):
        return [_without_nothing(value) for value in data]
    return data
