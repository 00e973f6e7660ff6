"""Volumes of Cinder: those of nodes, and those that servers boot from. Nodes of devcloud do not see them as disks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudmesh_cluster.core.errors import ProviderError
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.providers.openstack import servers
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from tests.support.cloud_project import Project, cm_of, nothing_left
from tests.support.command_line import CommandLine

PROFILE = "roles: {worker: {count: 1, volumes: [{size: 3}]}}\n"


@pytest.fixture(scope="module")
def cm(project: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` with a provider whose servers boot from volumes, and a profile whose workers have one more."""
    providers = f"dc: {{type: openstack, os_cloud: {project.name}, flavor: m1.small, root_volume: 2}}\n"
    with cm_of(project, cm_cache, providers) as made:
        (made.home / "profiles.d").mkdir()
        (made.home / "profiles.d" / "wide.yaml").write_text(PROFILE)
        yield made


def volumes(project: Project) -> list[tuple[int, str, str]]:
    """Return size, status and server of each volume in the project."""
    names = {each.id: each.name for each in project.member.connection.compute.servers()}
    listed: Any = project.member.connection.block_storage.volumes()
    return sorted((each.size, each.status, names[each.attachments[0]["server_id"]]) for each in listed)


def test_what_does_not_fit(cm: CommandLine, project: Project) -> None:
    """Too few volumes left, or too little space: exit 2 with both, and nothing is made."""
    with nothing_left(project, cm), project.quota(volumes=2, gigabytes=6):
        refused = cm("cluster", "create", "t", "-p", "wide", "--provider", "dc", "-y", expect=2)

    assert "3 volumes are needed, 2 of 2 are left" in refused.stderr
    assert "7 GiB of volumes are needed, 6 of 6 are left" in refused.stderr


def assert_found_by_mount(project: Project) -> None:
    """Assert that a volume is known by where it is to be mounted, and missed where no volume says that."""
    cloud, sdk = Cloud(project.name), project.member.connection
    server = next(each for each in sdk.compute.servers() if each.name == "t-worker-1")
    node = Node("t-worker-1", "worker", 1, "running", "", provider_id=server.id)
    with pytest.raises(ProviderError, match="t-worker-1 has no volume for /data"):
        servers.volumes(cloud, node, ["/data"])
    [volume] = [each for each in sdk.block_storage.volumes() if each.size == 3]
    sdk.block_storage.set_volume_metadata(volume, cm_mount="/data")
    assert servers.volumes(cloud, node, ["/data"]) == {"/data": volume.id}


def test_volumes_come_and_go_with_their_servers(
    cm: CommandLine, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each server boots from a volume, each worker has one more before the cluster is ready; all of them go."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(project.clouds))
    with nothing_left(project, cm):
        cm("cluster", "create", "t", "-p", "wide", "--provider", "dc", "-y", timeout=400)
        made = volumes(project)
        assert_found_by_mount(project)
        cm("cluster", "scale", "t", "+1", timeout=400)
        grown = volumes(project)
        cm("cluster", "scale", "t", "1", timeout=400)
        shrunk = volumes(project)
        cm("cluster", "delete", "t", "-y", timeout=400)

    used = "in-use"
    assert made == shrunk == [(2, used, "t-master"), (2, used, "t-worker-1"), (3, used, "t-worker-1")]
    assert set(grown) - set(made) == {(2, used, "t-worker-2"), (3, used, "t-worker-2")}
