"""`cm gc`: what was made for clusters that nobody here knows any more, in the clouds and on this machine."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmesh_cluster.core.errors import CmError, LeftBehind
from cloudmesh_cluster.core.events import Emit, Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Leftover
from cloudmesh_cluster.operations.queries.clouds import KnownCloud, Warn, ask_each, clusters_on_clouds, known_clouds
from cloudmesh_cluster.providers.local.provider import LocalProvider
from cloudmesh_cluster.providers.openstack.orphans import Orphan
from cloudmesh_cluster.state.locks import lock_holder
from cloudmesh_cluster.state.store import State

LOCAL = "local"


@dataclass(frozen=True)
class Garbage:
    """Something that no known cluster owns.

    Args:
        provider: where it is.
        kind: of what kind.
        id: its own.
        cluster: the name of the cluster that it was made for; empty for an image's layer.
        cluster_id: the random id of that cluster; empty where it has none.

    """

    provider: str
    kind: str
    id: str
    cluster: str = ""
    cluster_id: str = ""


def find_garbage(
    home: Home, environ: Mapping[str, str], warn: Warn, *, provider: str | None = None, names: Sequence[str] = ()
) -> list[Garbage]:
    """Return what no known cluster owns.

    Args:
        home: whose clusters are the known ones.
        environ: the environment.
        warn: told which clouds do not answer.
        provider: look there only.
        names: only what was made for these clusters.

    Raises:
        UsageError: there is no such provider.

    """
    found: list[Garbage] = []
    if provider in (None, LOCAL):
        found += [*_local(home), *_layers(home)]
    if provider != LOCAL:
        # Whatever cloud a cluster is on: what has the marks of a known one is not garbage.
        known = clusters_on_clouds(home).keys()

        def orphans_of(cloud: KnownCloud) -> list[Garbage]:
            return [
                Garbage(cloud.name, each.kind, each.id, each.marks.cluster, each.marks.id)
                for each in cloud.provider.orphans(known)
            ]

        found += ask_each(known_clouds(home, environ, provider=provider), orphans_of, warn)
    return [each for each in found if not names or each.cluster in names]


def _known_here(home: Home) -> set[str]:
    if not home.state_file.exists():
        return set()
    with State(home) as state:
        return set(state.cluster_names())


def _local(home: Home) -> list[Garbage]:
    """Return what is left of nodes on this machine; a cluster that somebody works on just now is known soon."""
    provider, known = LocalProvider(home, {}), _known_here(home)
    folders = sorted(home.clusters.iterdir()) if home.clusters.is_dir() else []
    found = []
    for folder in folders:
        name = folder.name
        if name in known or not folder.is_dir() or lock_holder(home, name):
            continue
        found += [Garbage(LOCAL, left.kind, left.id, name) for left in provider.leftovers(name)]
        found += [Garbage(LOCAL, "file", str(path), name) for path in _own_files(folder)]
    return found


def _own_files(folder: Path) -> list[Path]:
    """Return what else is in a cluster's folder, but for the evidence, which outlives it."""
    return [path for path in sorted(folder.iterdir()) if path.name not in ("logs", "engine")]


def _layers(home: Home) -> list[Garbage]:
    from cloudmesh_cluster.providers.local.engine.shelf_life import old_layers

    return [Garbage(LOCAL, "image layer", name) for name in old_layers(home.cache)]


async def remove_garbage(home: Home, environ: Mapping[str, str], garbage: Sequence[Garbage], emit: Emit) -> None:
    """Delete what `find_garbage` has found.

    Raises:
        LeftBehind: something could not be deleted; everything else was.

    """
    clouds = {each.name: each for each in known_clouds(home, environ)}
    left: list[Leftover] = []
    reasons: list[str] = []
    for each in garbage:
        try:
            if each.provider == LOCAL:
                await _remove_local(home, each)
            else:
                await _remove_remote(clouds[each.provider], each)
        except (CmError, OSError) as error:
            left.append(Leftover(each.kind, each.id))
            reasons.append(str(error))
        else:
            emit(Event("info", "gc", message=f"{each.kind} {each.id} deleted"))
    if left:
        raise LeftBehind(left, message=reasons[0])


async def _remove_remote(cloud: KnownCloud, garbage: Garbage) -> None:
    marks = Marks(garbage.cluster, garbage.cluster_id)
    await cloud.provider.remove_orphan(Orphan(garbage.kind, garbage.id, marks))


async def _remove_local(home: Home, garbage: Garbage) -> None:
    if garbage.kind == "image layer":
        from cloudmesh_cluster.providers.local.engine.shelf_life import remove_layer

        await asyncio.to_thread(remove_layer, home.cache, garbage.id)
        return
    folder = home.cluster(garbage.cluster)
    # All that the engine has left goes at once, when the first piece of it does.
    await LocalProvider(home, {}).destroy_all(garbage.cluster)
    for path in _own_files(folder) if folder.is_dir() else []:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
