"""Which plugins a cluster gets: those that are asked for and what they require, with all settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from cloudmesh_cluster.core.errors import InvalidInput, NotFound
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import PluginUse, Problem
from cloudmesh_cluster.core.yaml_reader import Source
from cloudmesh_cluster.plugins.model import ChosenPlugin, Plugin, Port
from cloudmesh_cluster.plugins.reader import find_plugins, load_plugin, typed


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
    settings = {setting.name: typed(source[setting.name], setting) for setting in plugin.settings}
    problems += source.problems
    return settings


def _ports(plugin: Plugin, settings: Mapping[str, object]) -> tuple[Port, ...]:
    """Return the ports of a plugin with the numbers that its settings say."""
    return tuple(
        replace(port, number=cast("int", settings[port.setting])) if port.setting else port for port in plugin.ports
    )
