"""`cm conda list`, `info`, `check`: what nodes have, and the proof that all have the same."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from cloudmesh_cluster.conda import sameness
from cloudmesh_cluster.conda.environments import CondaEnvironment, Environments
from cloudmesh_cluster.conda.sameness import Difference, Look
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.core.targets import fold, select
from cloudmesh_cluster.operations.session import connections_of
from cloudmesh_cluster.operations.steps.environments import nodes_of
from cloudmesh_cluster.operations.steps.preconditions import refuse_stopped
from cloudmesh_cluster.operations.steps.wiring import raise_failed
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.ssh.connections import Connections
from cloudmesh_cluster.state.store import State

TIMEOUT = 600.0
ABSENT = 3


def info(home: Home, name: str) -> list[dict[str, Any]]:
    """Return the environments of a cluster as they are to be, a row for each."""
    with State(home) as state:
        nodes = state.cluster(name).nodes
    return [
        {
            **asdict(environment),
            "prefix": environment.prefix,
            "environment": environment.name,
            "python": next((p.version for p in environment.packages if p.name == "python"), ""),
            "packages": len(environment.packages),
            "lock": environment.digest,
            "nodes": fold(node.short_name for node in nodes_of(environment, nodes)),
            "from": "prefix" if environment.pushed else "lock",
            "lock_file": str(Environments(home, name).lock_file(environment)),
        }
        for environment in Environments(home, name).all()
    ]


async def list_packages(home: Home, name: str, environment: str | None, *, target: str | None) -> list[dict[str, Any]]:
    """Return the packages that nodes have, asked from them, a row for each package on all nodes that have the same.

    Raises:
        NotFound: there is no such environment.

    """
    rows = []
    with State(home) as state:
        for each in _chosen(home, state, name, environment):
            nodes = _nodes(home, state, name, each, target)
            record = state.record(name)
            provider = provider_of(home, record.provider_type, record.provider_settings)
            async with connections_of(home, state, name, provider) as connections:
                line = shlex.join(["ls", "-1", f"{each.prefix}/conda-meta"])
                results = await connections.run_all(nodes, line, timeout=TIMEOUT)
            sources = {package.name: package.channel for package in each.packages}
            for answer in dict.fromkeys(result.stdout for result in results):
                names = fold(n.short_name for n, r in zip(nodes, results, strict=True) if r.stdout == answer)
                there = sameness.packages_of({f"./conda-meta/{file}": "" for file in answer.splitlines()})
                rows += [
                    {"nodes": names, "environment": each.name, "name": package, "version": about.split()[0],
                     "build": about.split()[1], "channel": sources.get(package, "")}
                    for package, about in sorted(there.items())
                ]  # fmt: skip
                if not there:
                    rows.append({"nodes": names, "environment": each.name, "name": "none"})
    return rows


def _chosen(home: Home, state: State, name: str, environment: str | None) -> list[CondaEnvironment]:
    state.cluster(name)
    store = Environments(home, name)
    return store.all() if environment is None else [store.one(environment)]


def _nodes(home: Home, state: State, name: str, environment: CondaEnvironment | None, target: str | None) -> list[Node]:
    nodes: Sequence[Node] = state.cluster(name).nodes
    if environment is not None:
        nodes = nodes_of(environment, nodes)
    if target is not None:
        nodes = [node for node in select(state.cluster(name).nodes, target) if node in nodes]
    if not nodes:
        raise UsageError("none of these nodes has the environment", hint=f"cm conda info {name}")
    refuse_stopped(home, state, name, nodes)
    return list(nodes)


async def check(
    home: Home, name: str, environment: str | None = None, *, venv: str | None = None, target: str | None = None
) -> list[dict[str, Any]]:
    """Compare environments on all nodes: what each one is against its record, a virtual environment against most nodes.

    Args:
        home: whose cluster.
        name: the cluster's.
        environment: which one; None for all.
        venv: the path of a plain virtual environment on the nodes, instead of conda's.
        target: which nodes; None for all that are to have it.

    Returns:
        A row for each difference, and one for each environment that is the same everywhere.

    Raises:
        NotFound: there is no such environment.
        RemoteFailed: a node does not answer.

    """
    with State(home) as state:
        record = state.record(name)
        provider = provider_of(home, record.provider_type, record.provider_settings)
        async with connections_of(home, state, name, provider) as connections:
            if venv is not None:
                nodes = _nodes(home, state, name, None, target)
                return _rows(venv, nodes, *await _compare(connections, nodes, venv))
            rows: list[dict[str, Any]] = []
            for each in _chosen(home, state, name, environment):
                nodes = _nodes(home, state, name, each, target)
                manifest = Environments(home, name).manifest_file(each).read_text()
                rows += _rows(each.name, nodes, *await _compare(connections, nodes, each.prefix, each, manifest))
            return rows


async def _compare(
    connections: Connections, nodes: Sequence[Node], path: str,
    environment: CondaEnvironment | None = None, manifest: str = "",
) -> tuple[list[Difference], Look, dict[str, str]]:  # fmt: skip
    """Return the differences, the look of a node that most are like, and what is expected of the files."""
    looks = await asyncio.gather(*(_look(connections, node, path, brief=True) for node in nodes))
    most = sameness.most_common([look.digest for look in looks if look.folder] or [""])
    typical = next((look for look in looks if look.digest == most), looks[0])
    if environment is None:
        typical = await _look(connections, _named(nodes, typical.node), path)
        expected, digest, folder = dict(typical.files), typical.digest, ""
    else:
        expected, folder = sameness.files_of(manifest.splitlines()), environment.folder
        digest = hashlib.sha256(manifest.encode()).hexdigest()
        if environment.link_scripts and most != digest:
            # What link scripts have made is not in the archive: it must at least be the same everywhere.
            there = await _look(connections, _named(nodes, typical.node), path)
            expected, digest = {**there.files, **expected}, most
    odd = [node for node, look in zip(nodes, looks, strict=True) if look.folder and look.digest != digest]
    close = {look.node: look for look in await asyncio.gather(*(_look(connections, node, path) for node in odd))}
    interpreter = sameness.most_common([look.interpreter for look in looks if look.folder] or [""])
    seen = [close.get(look.node, look) for look in looks]
    return sameness.differences(seen, expected, folder=folder, interpreter=interpreter), typical, expected


async def _look(connections: Connections, node: Node, path: str, *, brief: bool = False) -> Look:
    script = resource("scripts", "boot", "conda-look").read_text()
    line = shlex.join(["bash", "-c", script, "conda-look", path, *(["brief"] if brief else [])])
    result = await connections.run(node, line, sudo=True, timeout=TIMEOUT)
    if result.exit == ABSENT:
        return Look(node.name, "", "", "", {})
    raise_failed(f"look at {path}", [result])
    return sameness.read_look(node.name, result.stdout)


def _named(nodes: Sequence[Node], name: str) -> Node:
    return next(node for node in nodes if node.name == name)


def _rows(
    name: str, nodes: Sequence[Node], found: Sequence[Difference], typical: Look, files: dict[str, str]
) -> list[dict[str, Any]]:
    """Return a row for each difference, the nodes that share it folded; a single one where there is none."""
    if not found:
        what = f"{typical.interpreter.split(' (')[0]}; {len(sameness.packages_of(files))} packages, {len(files)} files"
        names = fold(node.short_name for node in nodes)
        same = {"environment": name, "what": "same", "item": what, "expected": "", "actual": ""}
        return [{**same, "nodes": names, "ok": True}]
    short = {node.name: node.short_name for node in nodes}
    together: dict[Difference, list[str]] = {}
    for each in found:
        together.setdefault(replace(each, node=""), []).append(short[each.node])
    return [
        {"environment": name, "what": d.what, "item": d.item, "expected": d.expected, "actual": d.actual,
         "nodes": fold(names), "ok": False}
        for d, names in together.items()
    ]  # fmt: skip
