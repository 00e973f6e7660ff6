"""What others do to a cluster behind `cm`: it is healed, or refused with what to type, and the cluster is as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.cloud_project import Project, cm_of
from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import wait_for
from tests.support.faulty_proxy import faulty_proxy

PROVIDERS = "dc: {{type: openstack, os_cloud: {cloud}, image: x-ours, flavor: m1.small}}\n"
PAGE = 2
"""Servers that Nova gives in one answer: fewer than the cluster has."""


@pytest.fixture(scope="module")
def image(project: Project) -> Iterator[Any]:
    """Return an image `x-ours` that only this project has."""
    glance = project.member.connection.image
    system = {"os_type": "linux", "os_distro": "debian", "os_version": "12", "os_admin_user": "debian"}
    made = glance.create_image(
        "x-ours", data=b"\0" * 1024, disk_format="raw", container_format="bare", wait=True, **system
    )
    yield made
    glance.delete_image(made.id)


@pytest.fixture(scope="module")
def cm(project: Project, image: Any, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` of two workers."""
    with cm_of(project, cm_cache, PROVIDERS.format(cloud=project.name)) as made:
        made("cluster", "create", "t", "--provider", "dc", "-n", "2", "-y", timeout=600)
        yield made


@pytest.fixture(autouse=True)
def _as_before(request: pytest.FixtureRequest, cm: CommandLine) -> Iterator[None]:
    """Let every test leave a cluster that is ready."""
    yield
    assert state_of(cm) == "ready"


def state_of(cm: CommandLine) -> str:
    """Return the state of the cluster."""
    [row] = json.loads(cm("cluster", "list", "-f", "json").stdout)
    return str(row["state"])


def states_of_nodes(cm: CommandLine) -> dict[str, str]:
    """Return the state of each node."""
    return {row["name"]: row["state"] for row in json.loads(cm("cluster", "nodes", "t", "-f", "json").stdout)}


@contextmanager
def entry(project: Project, *, auth: dict[str, str] | None = None, **more: str) -> Iterator[None]:
    """Change the project's entry in clouds.yaml while the block runs."""
    before = project.clouds.read_text()
    project.give_entry(project.name, auth=auth, **more)
    try:
        yield
    finally:
        project.clouds.write_text(before)


def paged(path: str) -> str:
    """Return the path of a request for a list of servers with Nova's limit, as `max_limit` sets it."""
    return f"{path}{'&' if '?' in path else '?'}limit={PAGE}" if "/servers/detail" in path else path


def test_more_servers_than_a_page(cm: CommandLine, project: Project) -> None:
    """Where Nova gives two servers at a time, three nodes are seen, and stop stops them all."""
    nova = project.devcloud.cloud.url("nova")
    with faulty_proxy(nova, rewrite=paged) as proxy, entry(project, compute_endpoint_override=f"{proxy.url}/v2.1"):
        assert set(states_of_nodes(cm).values()) == {"running"}
        cm("cluster", "stop", "t")
    assert {server.status for server in project.member.nova.servers.list()} == {"SHUTOFF"}
    cm("cluster", "start", "t")


def test_credentials_that_are_not_valid_any_more(cm: CommandLine, project: Project, tmp_path: Path) -> None:
    """Nothing is touched: the cluster stays ready; --force forgets it, exit 4, and names what may be left."""
    other = replace(cm, home=tmp_path / "home")
    shutil.copytree(cm.home, other.home)
    with entry(project, auth={"password": "another"}):
        for words in (("delete", "t", "-y"), ("stop", "t"), ("scale", "t", "+1")):
            answer = cm("cluster", *words, expect=2)
            assert "the cloud refuses the credentials" in answer.stderr, answer
            assert state_of(cm) == "ready", words
        answer = other("cluster", "delete", "t", "-y", "--force", expect=4)
        assert "left: stack cm-t" in answer.stderr
        assert json.loads(other("cluster", "list", "-f", "json").stdout) == []
    cm("cluster", "verify", "t")


def test_servers_that_rest(cm: CommandLine, project: Project) -> None:
    """Paused, suspended and locked servers are named with what to type; start makes all of them run."""
    nova = project.member.nova.servers
    ids = {server.name: server.id for server in nova.list()}
    nova.pause(ids["t-worker-1"])
    nova.suspend(ids["t-worker-2"])
    project.member.wait_for_server(ids["t-worker-1"], "PAUSED")
    project.member.wait_for_server(ids["t-worker-2"], "SUSPENDED")
    answer = cm("cluster", "scale", "t", "-1", expect=2)
    assert "not running (paused)" in answer.stderr
    assert "cm cluster start t" in answer.stderr
    answer = cm("cluster", "stop", "t", expect=2)
    assert "openstack server unpause t-worker-1" in answer.stderr
    assert "openstack server resume t-worker-2" in answer.stderr

    nova.lock(ids["t-worker-1"])
    for words in (("start", "t"), ("delete", "t", "-y")):
        assert "openstack server unlock t-worker-1" in cm("cluster", *words, expect=2).stderr
    nova.unlock(ids["t-worker-1"])
    cm("cluster", "start", "t")
    assert set(states_of_nodes(cm).values()) == {"running"}


def test_a_stack_that_is_suspended(cm: CommandLine, project: Project) -> None:
    """A suspended stack whose servers run is refused with Heat's word; start resumes it."""
    heat, nova = project.member.heat, project.member.nova.servers
    heat.actions.suspend("cm-t")
    wait_for(lambda: project.member.stack_status("cm-t") == "SUSPEND_COMPLETE")
    for server in nova.list():
        nova.resume(server.id)
        project.member.wait_for_server(server.id, "ACTIVE")

    assert "openstack stack resume cm-t" in cm("cluster", "scale", "t", "+1", expect=2).stderr
    cm("cluster", "start", "t")
    assert project.member.stack_status("cm-t") == "RESUME_COMPLETE"


def test_a_floating_ip_that_was_taken_off(cm: CommandLine, project: Project) -> None:
    """A cluster that can't be reached is not changed; what gives the floating IP back is said, and does so."""
    network = project.member.connection.network
    [address] = network.ips(project_id=project.identity)
    port = address.port_id
    network.update_ip(address, port_id=None)
    for words in (("scale", "t", "-1"), ("start", "t")):
        answer = cm("cluster", *words, expect=2)
        assert f"openstack floating ip set --port {port} {address.floating_ip_address}" in answer.stderr
    network.update_ip(address, port_id=port)


def test_a_key_pair_and_a_name_that_are_gone(cm: CommandLine, project: Project, image: Any) -> None:
    """Without its key pair a cluster grows; of an image that has another name now it shrinks, and makes no node."""
    glance = project.member.connection.image
    for keypair in project.member.nova.keypairs.list():
        project.member.nova.keypairs.delete(keypair)
    cm("cluster", "scale", "t", "+1", timeout=600)

    glance.update_image(image, name="x-retired")
    assert "no image 'x-ours'" in cm("cluster", "replace", "t", "worker-3", expect=2).stderr
    cm("cluster", "scale", "t", "-1", timeout=600)
    glance.update_image(image, name="x-ours")
