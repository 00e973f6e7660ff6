"""Profiles as plain data and as YAML, for people to read and for changes to be read back by the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloudmesh_cluster.core.model import Check, Machine, PluginUse, Profile, RoleScript, RoleSpec
from cloudmesh_cluster.core.quantities import format_duration, format_size
from cloudmesh_cluster.core.yaml_tree import Written


def plain(profile: Profile) -> dict[str, Any]:
    """Return a profile as the data of its YAML, defaults filled in, scripts inline."""
    data: dict[str, Any] = {"name": profile.name, "provider": profile.provider, "user": profile.user}
    data["mesh"] = profile.mesh
    data["listen_to"] = profile.listen_to
    data["machines"] = _plain_machines(profile.machines)
    data["roles"] = {"master": _plain_role(profile.master), "worker": _plain_role(profile.worker)}
    data["plugins"] = [_plain_plugin(use) for use in profile.plugins]
    data["template"] = profile.template.source if profile.template else None
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


def _plain_machines(machines: Sequence[Machine]) -> dict[str, Any] | None:
    if not machines:
        return None
    plain = [{"host": each.host, "port": each.port, "host_key": each.host_key} for each in machines]
    return {"head": plain[:1], "compute": plain[1:]}


def _plain_role(spec: RoleSpec) -> dict[str, Any]:
    cpus = int(spec.cpus) if spec.cpus is not None and spec.cpus == int(spec.cpus) else spec.cpus
    return {
        "count": spec.count,
        "image": spec.image,
        "flavor": spec.flavor,
        "cpus": cpus,
        "memory": None if spec.memory is None else format_size(spec.memory),
        "volumes": [{"size": each.size} | ({"mount": each.mount} if each.mount else {}) for each in spec.volumes],
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
