"""The schema of profiles: YAML read into frozen dataclasses, all problems of a file at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast, get_args

from cloudmesh_cluster.config.acluster import read_ignored, read_machines, read_size, translate_plugins
from cloudmesh_cluster.config.heat_additions import read_additions
from cloudmesh_cluster.core.model import (
    Check,
    Expectation,
    ListenTo,
    Mesh,
    PluginUse,
    Profile,
    RoleName,
    RoleScript,
    RoleSpec,
    Volume,
)
from cloudmesh_cluster.core.yaml_reader import Source, Value

MOST_WORKERS = 10_000
LEAST_MEMORY = 64
_LOGIN = r"[a-z_][a-z0-9_-]{0,31}"
_SYSTEM_LOGINS = frozenset({"root", "daemon", "bin", "sys", "sync", "man", "mail", "backup", "nobody", "_apt", "sshd"})
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_PLUGIN = r"[a-z][a-z0-9-]{0,29}"
_VOLUME_SIZE = r"[1-9][0-9]{0,5}G?"
_MOUNT = r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"


def read_profile(source: Source, *, folder: Path, default_name: str) -> Profile:
    """Read a profile from an open source, which collects the problems.

    Args:
        source: the YAML text.
        folder: what the paths of scripts are relative to.
        default_name: the name of a profile that does not state one.

    """
    if source.root.missing:
        source.root.report("is empty", hint="the least profile is 'name: NAME'")
    machines = read_machines(source)
    counted, image, flavor = read_size(source, machines)
    master, worker = _read_roles(source["roles"], workers=counted)
    if machines and worker.count >= len(machines):
        what = f"{worker.count} workers, but machines.compute lists {len(machines) - 1}"
        source["roles"]["worker"]["count"].report(what, hint="list more machines, or ask for fewer workers")
    user, uses = _read_user(source["user"]), _read_plugins(source["plugins"])
    return Profile(
        name=source["name"].text(default_name, pattern=_WORD, form="a word of letters, digits, '-', '_' and '.'"),
        source=source.mark.name,
        provider=source["provider"].text(None, pattern=_WORD, form="the name of a provider"),
        user=user,
        mesh=cast("Mesh", source["mesh"].text("all", choices=get_args(Mesh))),
        listen_to=cast("ListenTo", source["listen_to"].text("cluster", choices=get_args(ListenTo))),
        master=replace(master, image=master.image or image, flavor=master.flavor or flavor),
        worker=replace(worker, image=worker.image or image, flavor=worker.flavor or flavor),
        plugins=translate_plugins(source, uses, user=user),
        scripts=_read_scripts(source["scripts"], folder),
        checks=_read_checks(source["checks"]),
        machines=machines,
        ignored=read_ignored(source, machines, uses),
        template=read_additions(source["template"], folder),
    )


def _read_user(value: Value) -> str:
    user = value.text("cm", pattern=_LOGIN, form="a login name (a-z, 0-9, '_', '-', at most 32)")
    if user in _SYSTEM_LOGINS:
        value.report(f"{user!r} is an account of the system", hint="name an ordinary user, it gets sudo")
    return user


def _read_roles(value: Value, *, workers: int) -> tuple[RoleSpec, RoleSpec]:
    master = _read_role(value["master"], count=1)
    if master.count != 1:
        value["master"]["count"].report(f"a cluster has exactly 1 master, got {master.count}")
    return master, _read_role(value["worker"], count=workers)


def _read_role(value: Value, *, count: int) -> RoleSpec:
    return RoleSpec(
        count=value["count"].integer(count, least=1, most=MOST_WORKERS),
        image=value["image"].text(None),
        flavor=value["flavor"].text(None),
        cpus=value["cpus"].number(None, least=0.01, most=1024),
        memory=value["memory"].size(None, least=LEAST_MEMORY),
        volumes=_read_volumes(value["volumes"]),
    )


def _read_volumes(value: Value) -> tuple[Volume, ...]:
    volumes: list[Volume] = []
    for item in value.items():
        size = item["size"].required().text("1", pattern=_VOLUME_SIZE, form="a size in GiB (10 or 10G)")
        mount = item["mount"].text("", pattern=_MOUNT, form="an absolute path, without '/' at its end")
        if mount and mount in [volume.mount for volume in volumes]:
            item["mount"].report(f"{mount!r} is given twice")
        volumes.append(Volume(int(size.rstrip("G")), mount))
    return tuple(volumes)


def _read_plugins(value: Value) -> tuple[PluginUse, ...]:
    uses: dict[str, PluginUse] = {}
    for item in value.items():
        use = _read_plugin(item)
        if use.name and use.name in uses:
            item.report(f"plugin {use.name!r} is given twice")
        uses[use.name] = use
    return tuple(uses.values())


def _read_plugin(item: Value) -> PluginUse:
    if not item.is_mapping:
        return PluginUse(item.text("", pattern=_PLUGIN, form="the name of a plugin"))
    entries = item.entries()
    if len(entries) != 1:
        item.report("expected one plugin, as NAME or NAME: {settings}", hint="one plugin a list item")
        return PluginUse("")
    name, settings = entries[0]
    if not settings.missing and not settings.is_mapping:
        settings.report("expected a mapping of settings")
        return PluginUse(name)
    return PluginUse(name, cast("Mapping[str, object]", settings.plain() or {}))


def _read_scripts(value: Value, folder: Path) -> tuple[RoleScript, ...]:
    roles: tuple[Literal["all"] | RoleName, ...] = ("all", "master", "worker")
    return tuple(_read_script(item, role, folder) for role in roles for item in value[role].items())


def _read_script(item: Value, role: str, folder: Path) -> RoleScript:
    if item.is_mapping:
        name = item["name"].required().text("", pattern=_WORD, form="a word of letters, digits, '-', '_' and '.'")
        text = item["run"].required().text("")
        if not item["run"].missing and not text.strip():
            item["run"].report("is empty")
        return RoleScript(role, name, text.encode())
    path = folder / Path(item.text("") or ".").expanduser()
    try:
        content = path.read_bytes() if item.is_scalar else b""
    except OSError as error:
        item.report(f"{str(path)!r} can't be read: {error.strerror}", hint="paths are relative to the profile")
        return RoleScript(role, path.name, b"")
    if item.is_scalar and not content.strip():
        item.report(f"{str(path)!r} is empty")
    return RoleScript(role, path.name, content)


def _read_checks(value: Value) -> tuple[Check, ...]:
    checks: dict[str, Check] = {}
    for item in value.items():
        check = read_check(item)
        if check.name and check.name in checks:
            item["name"].report(f"check {check.name!r} is given twice")
        checks[check.name] = check
    return tuple(checks.values())


def read_check(item: Value) -> Check:
    """Read a check of a profile or a plugin: `{name, on, run|port|file, expect, within}`."""
    check = Check(
        name=item["name"].required().text("", pattern=r"[^\s](.{0,78}[^\s])?", form="one line, at most 80 characters"),
        on=item["on"].text("all"),
        run=item["run"].text(None),
        port=item["port"].integer(None, least=1, most=65535),
        file=item["file"].text(None, pattern=r"/.*", form="an absolute path"),
        expect=_read_expectation(item["expect"]),
        within=item["within"].duration(30.0),
    )
    kinds = [key for key in ("run", "port", "file") if not item[key].missing]
    if item.is_mapping and len(kinds) != 1:
        item.report(f"expected exactly one of run, port and file, got {' and '.join(kinds) or 'none'}")
    if kinds == ["port"] and (check.expect.stdout or check.expect.stderr or check.expect.count is not None):
        item["expect"].report("a port answers or does not: only exit can be expected")
    return check


def _read_expectation(value: Value) -> Expectation:
    status = value["exit"]
    if status.is_null:
        status.report("null is no exit status", hint="write any when every exit status is right")
    return Expectation(
        exit=None if status.is_scalar and status.text("") == "any" else status.integer(0, least=0, most=255),
        stdout=value["stdout"].regex(None),
        stderr=value["stderr"].regex(None),
        count=value["count"].integer(None, least=0),
    )
