"""A cluster that works, and what happens around it: no room to grow, a cut cable, a stack that somebody deletes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.orphans import orphans
from devcloud import nodes, wiring
from devcloud.network import batch, feed
from tests.support.cloud_project import Project, cm_of
from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import wait_for
from tests.support.journal_watch import started

PROVIDERS = "dc: {type: openstack, os_cloud: unrestricted, image: debian-12, flavor: m1.small}\n"


@pytest.fixture(scope="module")
def project(project: Project) -> Project:
    """Return the project of these tests, whose user has an unrestricted application credential."""
    project.give_application_credential("unrestricted", unrestricted=True)
    return project


@pytest.fixture(scope="module")
def cm(project: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` of one worker, made with the application credential."""
    before = project.everything()
    with cm_of(project, cm_cache, PROVIDERS) as made:
        made("cluster", "create", "t", "--provider", "dc", "-n", "1", "-y", timeout=600)
        yield made
    assert project.everything() == before


def test_no_room_to_grow(cm: CommandLine, project: Project) -> None:
    """A growth that exceeds quotas is refused with all of them, before anything is changed."""
    before = project.everything()
    with project.quota(instances=2, ram=2048):
        answer = cm("cluster", "scale", "t", "+1", expect=2)

    assert "1 instances are needed, 0 of 2 are left" in answer.stderr
    assert "1024 MiB of RAM are needed, 0 of 2048 are left" in answer.stderr
    assert project.everything() == before
    cm("cluster", "verify", "t")


def test_a_growth_that_is_stopped(cm: CommandLine, project: Project) -> None:
    """Ctrl-C and the end of the time, while Heat makes the new worker: it is taken back, and Heat has ended."""
    before = project.everything()
    with started(cm, "cluster", "scale", "t", "+1") as running:
        running.wait_for_words("port_2: create complete")
        running.send(signal.SIGINT)
        answer = running.answer()
    assert answer.exit == 130, answer
    assert project.everything() == before

    answer = cm("cluster", "scale", "t", "+1", "--timeout", "6s", expect=1)
    assert "rolled back" in answer.stderr
    assert project.everything() == before
    assert project.member.stack_status("cm-t") == "UPDATE_COMPLETE"
    cm("cluster", "verify", "t")


def test_a_worker_that_is_cut_off(cm: CommandLine, project: Project) -> None:
    """A verify during which a worker has no network fails with exit 3 and names it; the next one passes."""
    with cut_off(project, "t-worker-1"):
        answer = cm("cluster", "verify", "t", "-f", "json", expect=3)
    rows = json.loads(answer.stdout)
    failed = {(row["check"], row["node"]) for row in rows if not row["ok"]}

    assert ("names", "t-worker-1") in failed
    assert ("ssh between nodes", "t-master") in failed
    assert ("names", "t-master") not in failed
    assert "t-worker-1" in answer.stderr
    cm("cluster", "verify", "t")


def test_a_stack_that_is_gone(cm: CommandLine, project: Project) -> None:
    """A cluster whose stack somebody has deleted does not grow; delete forgets it."""
    project.member.heat.stacks.delete("cm-t")
    wait_for(lambda: project.member.stack_status("cm-t") is None)
    answer = cm("cluster", "scale", "t", "+1", expect=2)

    assert "stack cm-t is gone: somebody has deleted it" in answer.stderr
    assert "cm cluster delete t" in answer.stderr
    cm("cluster", "delete", "t", "-y")
    assert cm("cluster", "list", "-f", "json").stdout.strip() == "[]"


def test_the_own_project_only(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator, who is shown all projects, is not told that what is in others is nobody's."""
    network = project.member.connection.network
    made = network.create_network(name="cm-x")
    network.set_tags(made, Marks("x").tags)
    seen = {each.id for each in orphans(Cloud(project.devcloud.admin.name), ())}
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(project.clouds))
    seen_by_owner = {each.id for each in orphans(Cloud(project.name), ())}
    network.delete_network(made)

    assert made.id not in seen
    assert made.id in seen_by_owner


@contextmanager
def cut_off(project: Project, server: str) -> Iterator[None]:
    """Take a server's cable out of its network's bridge while the block runs."""
    identity = project.member.connection.compute.find_server(server).id
    network = nodes.network_of(project.devcloud.cloud, identity)
    assert network is not None
    pid = network.engine.running()[identity]
    shown = subprocess.run(
        ["nsenter", "--net", f"--target={pid}", "ip", "-j", "link", "show", "eth0"],
        capture_output=True,
        text=True,
        check=True,
    )
    inside = wiring.namespace_of(network.engine_folder)
    try:
        cables = json.loads(feed(["ip", "-j", "link", "show"], "", inside=inside))
        end = json.loads(shown.stdout)[0]["link_index"]
        cable = next(link["ifname"] for link in cables if link["ifindex"] == end)
        batch(f"link set {cable} down", inside=inside)
        try:
            yield
        finally:
            batch(f"link set {cable} up", inside=inside)
    finally:
        os.close(inside)
