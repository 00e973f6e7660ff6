"""What no known cluster owns on this machine, and which clouds are asked; clouds: tests/openstack."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import ProviderError, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.garbage import find_garbage
from cloudmesh_cluster.operations.queries.clouds import ask_each, known_clouds
from cloudmesh_cluster.providers.local.engine.shelf_life import UNUSED_FOR, _mounted, old_layers
from cloudmesh_cluster.state.locks import cluster_lock
from tests.support.command_line import CommandLine
from tests.support.journalled import add_cluster

CLOUDS = """\
one: {type: openstack, os_cloud: one}
again: {type: openstack, os_cloud: one, floating_ip: all}
other: {type: openstack, os_cloud: other}
here: {type: local}
"""


@pytest.fixture
def own(tmp_path: Path) -> Home:
    """Return a home of its own."""
    home = Home(tmp_path / "home", tmp_path / "cache")
    home.make()
    return home


def forgotten(home: Home, name: str) -> Path:
    """Leave the folder of a cluster behind that the journal does not have: a key, and evidence."""
    folder = home.cluster(name)
    (folder / "logs" / "op").mkdir(parents=True)
    (folder / "id_ed25519").write_text("key")
    return folder


def layer(home: Home, name: str, *, unused_for: float) -> None:
    """Put a layer into the cache from which nothing was booted for so many seconds."""
    folder = home.cache / "images" / name
    folder.mkdir(parents=True)
    os.utime(folder, (time.time() - unused_for,) * 2)


def ids(home: Home) -> list[tuple[str, str]]:
    """Return kind and id of everything found on this machine."""
    return [(each.kind, each.id) for each in find_garbage(home, {}, print, provider="local")]


def test_an_empty_home_has_no_garbage(tmp_path: Path) -> None:
    """Where nothing was ever made, nothing is found, and nothing is made by looking."""
    assert ids(Home(tmp_path / "none", tmp_path / "cache")) == []
    assert list(tmp_path.iterdir()) == []


def test_keys_of_a_forgotten_cluster(own: Home) -> None:
    """What the journal does not know is found, but for evidence; a known cluster and a busy one are left alone."""
    folder = forgotten(own, "lost")
    forgotten(own, "busy")
    add_cluster(own, "known")
    own.cluster("known").mkdir(exist_ok=True)
    (own.cluster("known") / "id_ed25519").write_text("key")
    with cluster_lock(own, "busy", operation="create"):
        assert ids(own) == [("file", str(folder / "id_ed25519"))]


def test_only_the_named_clusters(own: Home) -> None:
    """With names, nothing else is found: neither other clusters nor layers."""
    for name in ("a", "b"):
        forgotten(own, name)
    layer(own, "layer-1", unused_for=2 * UNUSED_FOR)

    assert [each.cluster for each in find_garbage(own, {}, print, provider="local", names=["b"])] == ["b"]


def test_deleting_keeps_the_evidence(cm: CommandLine) -> None:
    """`--delete -y` removes the keys of a forgotten cluster and keeps its logs; without a yes nothing is touched."""
    own = Home(cm.home, cm.home / "cache")
    folder = forgotten(own, "lost")

    assert "Nobody is here to ask" in cm("gc", "--provider", "local", "--delete", "lost", expect=2).stderr
    assert (folder / "id_ed25519").exists()
    shown = json.loads(cm("gc", "--provider", "local", "--delete", "-y", "-f", "json", "lost").stdout)
    file = {"provider": "local", "kind": "file", "id": str(folder / "id_ed25519")}
    assert shown == [{**file, "cluster": "lost", "cluster_id": ""}]
    assert [path.name for path in folder.iterdir()] == ["logs"]
    assert json.loads(cm("gc", "--provider", "local", "-f", "json", "lost").stdout) == []


def test_old_layers(own: Home) -> None:
    """Layers that nothing was booted from for long are old, and unfinished ones that nobody builds."""
    layer(own, "layer-old", unused_for=UNUSED_FOR + 60)
    layer(own, "layer-new", unused_for=0)
    layer(own, ".base-1.unfinished", unused_for=0)

    assert old_layers(own.cache) == [".base-1.unfinished", "layer-old"]
    with (own.cache / "images" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert old_layers(own.cache) == []


def test_what_is_mounted() -> None:
    """A name in the table of mounts of any process is one that is in use."""
    assert _mounted(["proc", "layer-that-nobody-has"]) == {"proc"}


def test_each_cloud_once(own: Home) -> None:
    """Clouds come from providers.yaml and the environment; two names for one cloud are one cloud."""
    own.providers_file.write_text(CLOUDS)
    own.providers_file.chmod(0o600)

    assert [each.name for each in known_clouds(own, {})] == ["one", "other"]
    assert [each.name for each in known_clouds(own, {"OS_CLOUD": "other"})] == ["other", "one"]
    assert [each.name for each in known_clouds(own, {"OS_AUTH_URL": "http://x"})] == ["OS_*", "one", "other"]
    assert [each.name for each in known_clouds(own, {}, provider="again")] == ["one"]
    with pytest.raises(UsageError, match="provider 'here' is local, no cloud"):
        known_clouds(own, {}, provider="here")


def test_a_cloud_that_does_not_answer(own: Home) -> None:
    """One of several is a warning, and the others answer; when none does, that is the error."""
    own.providers_file.write_text(CLOUDS)
    own.providers_file.chmod(0o600)
    clouds, told = known_clouds(own, {}), list[str]()

    def ask(cloud: object) -> list[str]:
        if cloud is clouds[0]:
            raise ProviderError("no answer")
        return ["found"]

    assert ask_each(clouds, ask, told.append) == ["found"]
    assert told == ["no answer"]
    with pytest.raises(ProviderError, match="no answer"):
        ask_each(clouds[:1], ask, told.append)
