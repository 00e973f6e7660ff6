"""What there is, from the journal alone: cheap enough for a prompt, so nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudmesh_cluster.core.errors import CmError, ProviderError, UsageError
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster
from cloudmesh_cluster.core.redaction import known_secrets, redact
from cloudmesh_cluster.core.version import __version__
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.state.locks import lock_holder
from cloudmesh_cluster.state.records import CHANGING, WORKING
from cloudmesh_cluster.state.store import State

INTERRUPTED = "interrupted"


def clusters(home: Home) -> list[Cluster]:
    """Return all clusters as they are now; those of a cloud as they were last seen, for asking it takes seconds."""
    with State(home) as state:
        return [_as_it_is(home, state, cluster, ask_clouds=False) for cluster in state.clusters()]


def cluster(home: Home, name: str) -> Cluster:
    """Return a cluster as it is now.

    Raises:
        NotFound: there is none of that name.

    """
    with State(home) as state:
        return _as_it_is(home, state, state.cluster(name), ask_clouds=True)


def _as_it_is(home: Home, state: State, cluster: Cluster, *, ask_clouds: bool) -> Cluster:
    """Compare what the journal says with what the provider has, and with who works on it."""
    record = state.record(cluster.name)
    nodes = cluster.nodes
    if ask_clouds or record.provider_type == "local":
        states = provider_of(home, record.provider_type, record.provider_settings).states(cluster.name)
        nodes = tuple(
            replace(node, state=states.get(node.name, "missing"))
            if states.get(node.name) != "running" and node.state in ("running", "reached")
            else node
            for node in nodes
        )
    word = cluster.state
    if (unfinished := state.unfinished(cluster.name)) is not None:
        # While somebody works on it, nodes that do not run yet or any more are no fault of it.
        changing = word in WORKING and unfinished.kind in CHANGING
        word = INTERRUPTED if lock_holder(home, cluster.name) is None else "changing" if changing else word
    elif word in WORKING and nodes and all(node.state != "running" for node in nodes):
        word = "stopped"
    elif word == "ready" and any(node.state != "running" for node in nodes):
        word = "degraded"
    return replace(cluster, state=word, nodes=nodes)


def marks(home: Home, name: str) -> tuple[str, str]:
    """Return the random id of a cluster, and the project of a cloud that it is in; empty where it has none."""
    with State(home) as state:
        record = state.record(name)
    return record.cluster_id, str(record.cloud or "")


def history(home: Home, name: str | None) -> list[dict[str, Any]]:
    """Return the operations of a cluster, or of all, oldest first."""
    with State(home) as state:
        if name is not None and not state.operations(name):
            state.cluster(name)
        rows = []
        for operation in state.operations(name):
            died = operation.state == "running" and lock_holder(home, operation.cluster) is None
            rows.append(
                {
                    "operation": operation.id,
                    "cluster": operation.cluster,
                    "kind": operation.kind,
                    "state": INTERRUPTED if died else operation.state,
                    "began_at": operation.began_at,
                    "ended_at": operation.ended_at,
                    "error": redact(operation.error),
                }
            )
        return rows


def events(home: Home, name: str) -> tuple[list[dict[str, Any]], str]:
    """Return what the operations on a cluster told, and what its cloud says, as one timeline, oldest first.

    The second part of the answer says why the cloud could not be asked; empty when it was, or there is none.
    """
    with State(home) as state:
        if not state.operations(name):
            state.cluster(name)
        told = state.events(name)
        record = state.record(name) if name in state.cluster_names() else None
    happened: list[Event] = []
    problem = ""
    if record is not None:
        try:
            happened = provider_of(home, record.provider_type, record.provider_settings).events(name)
        except (ProviderError, UsageError) as error:
            problem = error.message
    # What was repeated of the cloud's events while they came is in the cloud's own list.
    since = happened[0].at if happened else ""
    ours = [
        (operation, event)
        for operation, event in told
        if not (since and event.at >= since and event.step == "provision" and event.kind == "info")
    ]
    timeline = sorted([*ours, *(("", event) for event in happened)], key=lambda pair: pair[1].at)
    known = known_secrets(home, name)
    return [
        {
            "operation": operation,
            **vars(event),
            "step": redact(event.step, known),
            "message": redact(event.message, known),
        }
        for operation, event in timeline
    ], problem


def scripts(home: Home, name: str, role: str | None) -> list[dict[str, Any]]:
    """Return the scripts written to a cluster, in order: role, name, digest, when, result by node."""
    with State(home) as state:
        state.cluster(name)
        return [
            {
                "order": order,
                "role": script.role,
                "name": script.name,
                "digest": script.digest,
                "written_at": script.written_at,
                "state": script.state,
                "result": _results(state, script.id),
            }
            for order, script in enumerate(state.scripts(name), start=1)
            if role is None or script.role == role
        ]


def _results(state: State, script: int) -> dict[str, int | str]:
    runs = state.runs(script)
    return {node: "not run" if status is None else status for node, status in runs.items()}


def script_text(home: Home, name: str, order: int) -> bytes:
    """Return the text of a script by its place in the order.

    Raises:
        NotFound: there is none at that place.

    """
    from cloudmesh_cluster.core.errors import NotFound

    with State(home) as state:
        state.cluster(name)
        written = state.scripts(name)
    if not 1 <= order <= len(written):
        hint = f"there are {len(written)}: cm cluster scripts {name}"
        raise NotFound("script", str(order), hint=hint)
    return written[order - 1].content


def inventory(home: Home, name: str, form: str) -> str:
    """Return the nodes of a cluster as another tool wants them: ansible, ssh, hosts or nodeset."""
    from cloudmesh_cluster.nodes.inventory import render

    with State(home) as state:
        record = state.record(name)
        provider = provider_of(home, record.provider_type, record.provider_settings)
        return render(
            form,
            state.cluster(name),
            user=record.profile.user,
            key=home.login_key(name),
            known_hosts=home.known_hosts(name),
            ssh_config=home.ssh_config(name),
            route=provider.ssh_route,
        )


def information(home: Home, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return where things lie and which versions are in use."""
    import platform
    import sqlite3

    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "home": str(home.root),
        "cache": str(home.cache),
        "sqlite": sqlite3.sqlite_version,
        "cloud": environ.get("OS_CLOUD", ""),
        "providers": " ".join(_providers(home)),
        "clusters": " ".join(_clusters(home)),
    }


def _providers(home: Home) -> list[str]:
    from cloudmesh_cluster.config.providers_file import TYPES, load_providers

    try:
        return [*TYPES, *(name for name in load_providers(home).entries if name not in TYPES)]
    except CmError:  # what is wrong with the file, `cm provider list` says
        return list(TYPES)


def _clusters(home: Home) -> list[str]:
    return [f"{each.name} ({each.state})" for each in clusters(home)]
