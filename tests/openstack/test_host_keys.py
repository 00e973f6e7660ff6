"""Whom host keys are learnt from where a cloud gives no console: each node by its handle; or nobody, if so asked."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from cloudmesh_cluster.hosts import parse_console_host_keys
from cloudmesh_cluster.template import host_key_handles
from tests.cloud_project import Project, cm_of, own_project
from tests.command_line import Answer, CommandLine
from tests.devcloud_clients import Devcloud, wait_for
from tests.faulty_proxy import faulty_proxy
from tests.journal_watch import Instant, signalled

PROVIDERS = """\
told: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small, host_keys: handle, cidr: 10.94.0.0/24}}
blind: {{type: openstack, os_cloud: blind, image: debian-12, flavor: m1.small, cidr: 10.95.0.0/24}}
"""
FIRST_REACHED = Instant("first node reached", "SELECT 1 FROM nodes WHERE state='reached'")


@pytest.fixture(scope="module")
def project(devcloud: Devcloud) -> Iterator[Project]:
    """Return a project with another entry, `blind`, to which Nova shows no console."""

    def no_console(_: str, body: bytes) -> int:
        return 403 if b"os-getConsoleOutput" in body else 0

    with (
        tempfile.TemporaryDirectory(prefix="cm-") as folder,
        own_project(devcloud, Path(folder)) as made,
        faulty_proxy(devcloud.cloud.url("nova"), no_console) as proxy,
    ):
        made.give_entry("blind", compute_endpoint_override=f"{proxy.url}/v2.1")
        yield made


@pytest.fixture(scope="module")
def cm(project: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `told` whose one worker and master have told Heat their host keys."""
    with cm_of(project, cm_cache, PROVIDERS.format(cloud=project.name)) as made:
        made("cluster", "create", "told", "--provider", "told", "-n", "1", "-y", timeout=600)
        yield made
        delete_stacks(project)


@pytest.fixture(scope="module")
def blind(cm: CommandLine) -> Answer:
    """Return what `cm` said of a cluster `blind` whose create was killed when one node was trusted, and resumed."""
    words = ("cluster", "create", "blind", "--provider", "blind", "-n", "1", "-y", "--trust-on-first-use")
    killed = signalled(cm, *words, at=FIRST_REACHED)
    answer = cm("cluster", "resume", "blind", "-f", "json", timeout=400)
    return replace(answer, stderr=killed.stderr + answer.stderr)  # what both have said


@contextmanager
def second_machine(cm: CommandLine, cluster: str, *, cloud: str) -> Iterator[CommandLine]:
    """Yield `cm` of a machine that knows nothing but a cloud and has, as `key`, the login key of a cluster there."""
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    shutil.copy(cm.home / "clusters" / cluster / "id_ed25519", home / "key")
    yield replace(cm, home=home, environ={**cm.environ, "OS_CLOUD": cloud})
    shutil.rmtree(home)


def delete_stacks(project: Project) -> None:
    """Delete all stacks at once, and wait until they are gone."""
    heat = project.member.heat
    for each in heat.stacks.list():
        heat.stacks.delete(each.id)
    wait_for(lambda: not list(heat.stacks.list()))


def nodes_of(cm: CommandLine, cluster: str) -> list[dict[str, Any]]:
    """Return the nodes of a cluster."""
    rows = json.loads(cm("cluster", "nodes", cluster, "-f", "json").stdout)
    assert isinstance(rows, list)
    return rows


def pinned(cm: CommandLine, cluster: str = "told") -> dict[str, str]:
    """Return the host key that is pinned of each node, by its short name."""
    lines = (cm.home / "clusters" / cluster / "known_hosts").read_text().splitlines()
    return {line.split()[0].removeprefix(f"cm-{cluster}-"): " ".join(line.split()[1:]) for line in lines}


def handles(project: Project) -> dict[int, str]:
    """Return the handles of the cluster's nodes, by index."""
    found = host_key_handles(each.resource_name for each in project.member.heat.resources.list("cm-told"))
    return dict(sorted(found.items()))


def assert_true(cm: CommandLine, project: Project) -> None:
    """Fail unless each node's pin is the key that it has printed on its console, and was learnt from a handle."""
    found = pinned(cm)
    for row in nodes_of(cm, "told"):
        console = project.member.nova.servers.get_console_output(row["provider_id"])
        assert [found[row["name"].removeprefix("told-")]] == parse_console_host_keys(console)
        assert row["host_key_from"] == "handle"


def curl_of(project: Project, handle: str) -> tuple[dict[str, str], str]:
    """Return the headers, the token among them, and the URL by which a handle is signalled."""
    command = project.member.heat.resources.get("cm-told", handle, with_attr=["curl_cli"]).attributes["curl_cli"]
    words = shlex.split(command)
    return dict(re.findall(r"([\w-]+): (.*)", "\n".join(words))), words[-1]


def test_nodes_tell_their_own_keys(cm: CommandLine, project: Project) -> None:
    """Each node has a handle of the operation, and its pin is the key that it has."""
    assert_true(cm, project)
    assert list(handles(project)) == [0, 1]
    assert all("_create_" in handle for handle in handles(project).values())


def test_no_node_speaks_for_another(cm: CommandLine, project: Project) -> None:
    """The token of one node signals its own handle, and is refused at another node's."""
    found = handles(project)
    headers, own = curl_of(project, found[1])
    _, other = curl_of(project, found[0])
    said = {"status": "SUCCESS", "id": "another server", "data": "ssh-ed25519 AAAAforged;"}

    assert requests.post(other, json=said, headers=headers, timeout=60).status_code == 403
    assert requests.post(own, json=said, headers=headers, timeout=60).ok


def test_what_another_server_has_said_does_not_count(cm: CommandLine, project: Project) -> None:
    """An import reads the handles, and of them what the servers at hand have told: all pins are as here."""
    with second_machine(cm, "told", cloud=project.name) as second:
        second("cluster", "import", "told", "--key", str(second.home / "key"))

        assert pinned(second) == pinned(cm)
        assert nodes_of(second, "told") == nodes_of(cm, "told")


def test_rebuild_pins_again(cm: CommandLine, project: Project) -> None:
    """A server that Nova has made anew tells its new host key through a new handle; the others keep theirs."""
    before = pinned(cm)
    answer = cm("cluster", "write", "told", "worker", "--on-failure", "rebuild", "false", expect=1, timeout=600)

    assert "outcome: rebuilt" in answer.stderr
    assert pinned(cm)["master"] == before["master"]
    assert pinned(cm)["worker-1"] != before["worker-1"]
    assert "_write_" in handles(project)[1]
    assert_true(cm, project)


def test_scale_and_replace_pin_again(cm: CommandLine, project: Project) -> None:
    """A worker that comes, and one that is made anew, each tells its own key, which counts before the one it shows."""
    before = pinned(cm)
    cm("cluster", "scale", "told", "+1", "--trust-on-first-use", timeout=600)
    grown = pinned(cm)
    cm("cluster", "replace", "told", "worker-1", timeout=600)
    after = pinned(cm)

    assert {name: grown[name] for name in before} == before
    assert {name for name, key in after.items() if key != grown[name]} == {"worker-1"}
    assert [handle.split("_")[-2] for handle in handles(project).values()] == ["create", "replace", "scale"]
    assert_true(cm, project)
    cm("cluster", "verify", "told")


def test_first_use_is_written_down(cm: CommandLine, blind: Answer) -> None:
    """Where no console is shown, nodes are trusted as was asked, and marked: one by the create, one by the resume."""
    events = json.loads(cm("cluster", "events", "blind", "-f", "json").stdout)
    warned = [each for each in events if each["kind"] == "warning"]

    assert {row["host_key_from"] for row in nodes_of(cm, "blind")} == {"first use"}
    assert [each["node"] for each in warned].count("blind-master") == 1
    assert {each["node"] for each in warned} == {"blind-master", "blind-worker-1"}
    assert all("is trusted on first use: the cloud does not show the console" in each["message"] for each in warned)
    assert "blind-worker-1: its host key SHA256:" in blind.stderr
    refused = cm("cluster", "write", "blind", "all", "--on-failure", "rebuild", "false", expect=2)
    assert "cm cluster replace blind master --trust-on-first-use" in refused.stderr


def test_without_being_asked_nobody_is_trusted(cm: CommandLine, blind: Answer) -> None:
    """Where no console is shown an operation ends at once, undone, and says which other ways there are."""
    with second_machine(cm, "blind", cloud="blind") as second:
        answer = second("cluster", "import", "blind", "--key", str(second.home / "key"), expect=1)
        assert second("cluster", "list", "-f", "json").stdout.strip() == "[]"

    assert "the cloud does not show the console, so nobody vouches for its host key" in answer.stderr
    assert "host_keys: handle in providers.yaml" in answer.stderr
    assert "--trust-on-first-use" in answer.stderr
