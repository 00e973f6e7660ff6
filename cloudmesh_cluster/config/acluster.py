"""Keys of profiles that come from Anaconda's `acluster`: machines that exist, and words translated or ignored."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.model import Machine, PluginUse
from cloudmesh_cluster.core.yaml_reader import Source, Value

DEFAULT_WORKERS = 2
_HOST = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"
_HOST_AND_PORT = rf"{_HOST}(:[0-9]{{1,5}})?"
_FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{43}"
_NO_EC2 = "cm makes no machines on EC2"
_NO_SALT = "cm has no Salt; use plugins and scripts"
IGNORED = {
    "aws": _NO_EC2,
    "root_size": "the size of a disk on EC2; see roles.worker.volumes",
    "root_volume": "the size of a disk on EC2; see roles.worker.volumes",
    "security": "cm neither turns SELinux off nor flushes the firewall; preflight says what is in the way",
    "head": f"Salt roles: {_NO_SALT}",
    "compute": f"Salt roles: {_NO_SALT}",
    "data": f"data for Salt: {_NO_SALT}",
    "anaconda_url": "no installer is fetched: environments are made of locked packages",
}
"""Keys of acluster that mean nothing here, and why."""
DUMMIES = ("node_id", "node_type")
"""Keys that acluster demands, and that are dummies where machines are listed; elsewhere they are image and flavor."""


PLUGINS = {"spark-standalone": "spark", "distributed": "dask", "ipython-parallel": "ipyparallel"}
"""Plugins of acluster that have another name here."""
HADOOP = ("hdfs", "yarn", "hadoop")
"""Plugins that mean the last of them together."""
NO_PLUGINS = ("salt",)
CONDA_KEYS = {
    "conda_channels": "channels", "default_channels": "default_channels", "channel_alias": "channel_alias"
}  # fmt: skip
"""Keys of profiles that are settings of the plugin `conda` here."""
NO_SETTINGS = {
    ("notebook", "password"): "a random token is made instead; cm cluster open NAME notebook brings the page with it",
}
"""Settings of acluster's plugins that mean nothing here, and why."""
_LISTS = ("channels", "default_channels", "conda_acl")


def read_machines(source: Source) -> tuple[Machine, ...]:
    """Return the machines that a profile lists, the head first; none when it lists none."""
    value = source["machines"]
    if value.missing:
        return ()
    heads = _read_list(value["head"])
    compute = _read_list(value["compute"])
    if value.is_mapping and len(heads) != 1:
        value["head"].report(f"a cluster has exactly 1 head, got {len(heads)}")
    if value.is_mapping and not compute:
        value["compute"].report("lists no machine", hint="a cluster needs at least 1 worker")
    return (*heads[:1], *compute)


def read_size(source: Source, machines: tuple[Machine, ...]) -> tuple[int, str | None, str | None]:
    """Return how many workers acluster's words mean, and the image and flavor of all nodes."""
    listed = len(machines) if machines else DEFAULT_WORKERS + 1
    number = source["num_nodes"].integer(None, least=2)
    image, flavor = (source[key].text(None) for key in DUMMIES)
    if machines:
        if number not in (None, listed):
            what = f"{number} contradicts machines, which lists {listed} (head and compute)"
            source["num_nodes"].report(what, hint=f"num_nodes: {listed}, or leave it out")
        return listed - 1, None, None
    counted = listed - 1 if number is None else number - 1
    given = source["roles"]["worker"]["count"].integer(None) if number is not None else None
    if given not in (None, counted):
        source["num_nodes"].report(f"{number} contradicts roles.worker.count: {given}", hint="leave one of them out")
    return counted, image, flavor


def translate_plugins(source: Source, uses: Sequence[PluginUse], *, user: str) -> tuple[PluginUse, ...]:
    """Return the plugins by the names that they have here, and `conda` with what the profile says of it elsewhere."""
    chosen: dict[str, PluginUse] = {}
    both = len({use.name for use in uses} & set(HADOOP)) > 1
    names = PLUGINS | (dict.fromkeys(HADOOP, HADOOP[-1]) if both else {})
    for use in uses:
        name = names.get(use.name, use.name)
        if name not in NO_PLUGINS:
            settings = {**(chosen[name].settings if name in chosen else {}), **use.settings}
            chosen[name] = PluginUse(name, {key: settings[key] for key in settings if (name, key) not in NO_SETTINGS})
    if "conda" in chosen:
        given = {ours: source[theirs].plain() for theirs, ours in CONDA_KEYS.items() if not source[theirs].missing}
        chosen["conda"] = PluginUse("conda", _conda({**given, **chosen["conda"].settings}, user=user))
    return tuple(chosen.values())


def _conda(settings: dict[str, object], *, user: str) -> dict[str, object]:
    acl = settings.get("conda_acl")
    if str(acl) in ("true", "false"):
        settings["conda_acl"] = [user] if str(acl) == "true" else []
    return {key: [value] if key in _LISTS and isinstance(value, str) else value for key, value in settings.items()}


def read_ignored(source: Source, machines: tuple[Machine, ...], uses: Sequence[PluginUse]) -> tuple[str, ...]:
    """Return what a profile says that means nothing here, each with the reason."""
    reasons = dict(IGNORED)
    if all(use.name != "conda" for use in uses):
        reasons |= dict.fromkeys(CONDA_KEYS, "the plugin conda is not in the profile")
    if machines:
        reasons |= dict.fromkeys(DUMMIES, "machines that exist have no image or size to choose")
    plugins = [f"plugin {use.name}: {_NO_SALT}" for use in uses if use.name in NO_PLUGINS]
    given = {(use.name, key) for use in uses for key in use.settings}
    plugins += [f"plugins.{name}.{key}: {why}" for (name, key), why in NO_SETTINGS.items() if (name, key) in given]
    return (*(f"{key}: {reason}" for key, reason in reasons.items() if not source[key].missing), *plugins)


def _read_list(value: Value) -> list[Machine]:
    machines: dict[str, Machine] = {}
    for item in value.items():
        machine = _read_machine(item)
        if machine is None:
            continue
        if machine.host in machines:
            item.report(f"machine {machine.host} is listed twice")
        machines[machine.host] = machine
    return list(machines.values())


def _read_machine(item: Value) -> Machine | None:
    if item.is_mapping:
        host = item["host"].required().text(None, pattern=_HOST, form="an address or a host name")
        port = item["port"].integer(None, least=1, most=65535)
        form = "a fingerprint (SHA256:...), as ssh-keygen -l prints it"
        key = item["host_key"].text(None, pattern=_FINGERPRINT, form=form)
        return None if host is None else Machine(host, port, key)
    word = item.text(None, pattern=_HOST_AND_PORT, form="an address or a host name, also with :PORT")
    if word is None:
        return None
    try:
        return machine_of(word)
    except UsageError as error:
        item.report(error.message, hint=error.hint)
        return None


def machine_of(word: str) -> Machine:
    """Return the machine that ADDRESS, NAME, ADDRESS:PORT or NAME:PORT means.

    Raises:
        UsageError: it is none of these.

    """
    if not re.fullmatch(_HOST_AND_PORT, word):
        raise UsageError(f"{word!r} is no machine", hint="an address or a host name, also with :PORT")
    host, _, port = word.partition(":")
    if port and not 1 <= int(port) <= 65535:
        raise UsageError(f"port {port} is none", hint="1 to 65535")
    return Machine(host, int(port) if port else None)
