"""What another machine says of a cluster: read like a file of the user's, and with no way to files of this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cloudmesh_cluster.conda.settings import PLUGIN as CONDA
from cloudmesh_cluster.conda.settings import READ_BY_THE_CLIENT
from cloudmesh_cluster.config.heat_additions import check_sections
from cloudmesh_cluster.config.profile_schema import read_profile
from cloudmesh_cluster.config.profile_yaml import plain
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node, PluginUse, Problem, Profile, node_names
from cloudmesh_cluster.core.redaction import in_channels, redact
from cloudmesh_cluster.core.yaml_reader import Source
from cloudmesh_cluster.plugins.reader import find_plugins, load_plugin

NOT_ELSEWHERE = ("scripts", "template", "machines")
"""Keys of a profile that are read from files, or mean machines that exist."""
_ADDRESS = re.compile(r"https?://[^\s$]+")
_OF_ONE_MACHINE = re.compile(
    r"(?<![\w/:.>-])(/|~[\w/])|^\.|\.\.|[$\\]|(?<![A-Za-z0-9+.-])(?!https?:)[A-Za-z][A-Za-z0-9+.-]*:/"
)
"""A path, a variable of the environment, or an address that is none of HTTP, anywhere in a text."""
_KEY = re.compile(r"ssh-[a-z0-9-]+ [A-Za-z0-9+/]+=*( [\x20-\x7e]*)?")
_ID = re.compile(r"([0-9a-f]{16})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Script(Protocol):
    """The name of a script, its role and its digest."""

    @property
    def role(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def exit(self) -> int: ...  # noqa: D102


def checked_profile(profile: Profile, *, stack: str) -> tuple[Profile, list[Problem]]:
    """Return a profile as the schema of files reads it, and what is wrong with it.

    Args:
        profile: of any values whatsoever.
        stack: the stack that holds it.

    """
    data = {name: value for name, value in plain(profile).items() if name not in NOT_ELSEWHERE}
    source = Source.of_plain(data, name=f"stack {stack}")
    read = read_profile(source, folder=Path("/nonexistent"), default_name="imported")
    if profile.template is None:
        return read, source.problems
    sections = {name: getattr(profile.template, name) for name in ("parameters", "resources", "outputs")}
    problems = check_sections(sections, name=f"stack {stack}: template")
    template = replace(profile.template, source=f"stack {stack}")
    return replace(read, template=template), [*source.problems, *problems]


def problems_of_rest(
    network: str, scripts: Sequence[Script], bootstrap_keys: Sequence[str], cluster_id: str, *, stack: str
) -> list[Problem]:
    """Return what is wrong with a network, the names of scripts, public keys, and the id of a cluster.

    Raises:
        ValueError: the network is none.

    """
    ipaddress.ip_network(network)
    wrong = [f"script {script.name!r}" for script in scripts if not _is_script(script)]
    wrong += [f"bootstrap key {key!r}" for key in bootstrap_keys if not _KEY.fullmatch(str(key))]
    wrong += [] if _ID.fullmatch(cluster_id) else [f"cluster id {cluster_id!r}"]
    return [Problem(f"stack {stack}", f"{each} makes no sense") for each in wrong]


def _is_script(script: Script) -> bool:
    named = _NAME.fullmatch(script.name) and _DIGEST.fullmatch(script.digest)
    return bool(named) and script.role in ("all", "master", "worker") and script.exit in range(256)


def problems_of_nodes(cluster: str, network: str, nodes: Sequence[Node], *, stack: str) -> list[Problem]:
    """Return which nodes have a name, a role or an address that no node of that cluster has."""
    inside = ipaddress.ip_network(network)
    most = max((node.index for node in nodes), default=0)
    names = dict(enumerate(node_names(cluster, most)))
    return [
        Problem(f"stack {stack}", f"node {node.name!r} at {node.private_ip} is no node of cluster {cluster}")
        for node in nodes
        if names.get(node.index) != node.name
        or node.role != ("worker" if node.index else "master")
        or ipaddress.ip_address(node.private_ip) not in inside
    ]


def fit_for_elsewhere(use: PluginUse, home: Home) -> tuple[PluginUse, list[str]]:
    """Return a plugin without the settings that name something of one machine, and the names of these.

    Such are the paths of files that `cm` itself reads, and variables of its environment. Secrets, and texts that look
    as if one was in them, are left out, too; addresses lose their tokens.
    """
    folder = find_plugins(home).get(use.name)
    plugin = load_plugin(folder) if folder else None
    payload = plugin.payload if plugin else None
    kinds = {setting.name: setting.type for setting in plugin.settings} if plugin else {}
    settings: dict[str, object] = {}
    left_out = []
    for name, value in use.settings.items():
        texts = [str(text) for text in _texts(value)]
        if kinds.get(name) == "secret":
            continue  # the nodes have it
        if payload and name == payload.source:
            fits = all(map(_ADDRESS.fullmatch, texts))
        elif use.name == CONDA and name in READ_BY_THE_CLIENT:
            fits = not any(map(_OF_ONE_MACHINE.search, texts))
        else:
            fits = kinds.get(name, "text") != "text" or redact(str(value)) == str(value)
        if fits:
            settings[name] = _without_tokens(value)
        else:
            left_out.append(f"{use.name}.{name}")
    return PluginUse(use.name, settings), left_out


def _without_tokens(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_tokens(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tokens(each) for each in value]
    return in_channels(value) if isinstance(value, str) and in_channels(value) != value else value


def _texts(value: object) -> Iterator[object]:
    """Yield every text in a setting: lists are taken apart, and texts at their blanks, as settings of lists are."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield from value.split()
    elif value is not None:
        yield str(value).lower()
