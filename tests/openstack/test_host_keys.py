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

from cloudmesh_cluster.nodes.hosts import parse_console_host_keys
from cloudmesh_cluster.providers.openstack.host_keys import seal
from cloudmesh_cluster.providers.openstack.template import host_key_handles
from tests.support.cloud_project import Project, cm_of, own_project
from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import Devcloud
from tests.support.faulty_proxy import faulty_proxy
from tests.support.journal_watch import Instant, signalled

PROVIDERS = "dc: {type: openstack, os_cloud: site, image: debian-12, flavor: m1.small, host_keys: handle}\n"
FIRST_REACHED = Instant("first node reached", "SELECT 1 FROM nodes WHERE state='reached'")
FORGED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIForgedForgedForgedForgedForgedForgedForgedFor;"


@pytest.fixture(scope="module")
def project(devcloud: Devcloud) -> Iterator[Project]:
    """Return a project of these tests, with an entry `site`."""
    with tempfile.TemporaryDirectory(prefix="cm-") as folder, own_project(devcloud, Path(folder)) as made:
        made.give_entry("site")
        yield made


@pytest.fixture(scope="module")
def cm(project: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t`, made while Heat showed nobody what nodes had told, killed and resumed."""
    with cm_of(project, cm_cache, PROVIDERS) as made:
        with silent_heat(project):
            words = ("cluster", "create", "t", "--provider", "dc", "-n", "1", "-y", "--trust-on-first-use")
            signalled(made, *words, at=FIRST_REACHED)
            made("cluster", "resume", "t", timeout=400)
        yield made


@contextmanager
def silent_heat(project: Project) -> Iterator[None]:
    """Have Heat refuse to show the metadata of resources, as a cloud's policy may want it."""

    def no_metadata(method: str, path: str) -> int:
        return 403 if method == "GET" and path.endswith("/metadata") else 0

    with faulty_proxy(project.devcloud.cloud.url("heat"), no_metadata) as proxy:
        project.give_entry("site", orchestration_endpoint_override=f"{proxy.url}/v1/{project.identity}")
        yield
        project.give_entry("site")


@contextmanager
def second_machine(cm: CommandLine) -> Iterator[CommandLine]:
    """Yield `cm` of a machine that knows nothing but the cloud, and has the login key of the cluster as `key`."""
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    shutil.copy(cm.home / "clusters" / "t" / "id_ed25519", home / "key")
    yield replace(cm, home=home, environ={**cm.environ, "OS_CLOUD": "site"})
    shutil.rmtree(home)


def nodes_of(cm: CommandLine) -> dict[str, dict[str, Any]]:
    """Return the nodes of the cluster by their short names."""
    rows = json.loads(cm("cluster", "nodes", "t", "-f", "json").stdout)
    return {row["name"].removeprefix("t-"): row for row in rows}


def sources(cm: CommandLine) -> list[str]:
    """Return who has vouched for each node's host key, master first."""
    return cm("cluster", "nodes", "t", "-f", "value", "-c", "host_key_from").stdout.splitlines()


def pinned(cm: CommandLine) -> dict[str, str]:
    """Return the host key that is pinned of each node, by its short name."""
    lines = (cm.home / "clusters" / "t" / "known_hosts").read_text().splitlines()
    return {line.split()[0].removeprefix("cm-t-"): " ".join(line.split()[1:]) for line in lines}


def true_keys(cm: CommandLine, project: Project) -> dict[str, str]:
    """Return the host key that each node has printed on its console."""
    nova = project.member.nova
    printed = {name: nova.servers.get_console_output(row["provider_id"]) for name, row in nodes_of(cm).items()}
    return {name: parse_console_host_keys(console)[0] for name, console in printed.items()}


def handles(project: Project) -> dict[int, str]:
    """Return the handles of the cluster's nodes, by index."""
    found = host_key_handles(each.resource_name for each in project.member.heat.resources.list("cm-t"))
    return dict(sorted(found.items()))


def command_of(project: Project, handle: str) -> tuple[dict[str, str], str]:
    """Return the headers, the token among them, and the URL by which a node signals its handle."""
    found = project.member.heat.resources.get("cm-t", handle, with_attr=["curl_cli"])
    words = shlex.split(found.attributes["curl_cli"])
    return dict(re.findall(r"([\w-]+): (.*)", "\n".join(words))), words[-1]


def test_first_use_is_written_down(cm: CommandLine, project: Project) -> None:
    """Where nobody is told what nodes have said, they are trusted as was asked, each once, and marked."""
    events = json.loads(cm("cluster", "events", "t", "-f", "json").stdout)
    warned = [each for each in events if each["kind"] == "warning"]

    assert sources(cm) == ["first use", "first use"]
    assert pinned(cm) == true_keys(cm, project)
    assert [each["node"] for each in warned].count("t-master") == 1
    assert {each["node"] for each in warned} == {"t-master", "t-worker-1"}
    assert all("is trusted on first use: the cloud does not show what nodes" in each["message"] for each in warned)
    refused = cm("cluster", "write", "t", "all", "--on-failure", "rebuild", "false", expect=2)
    assert "cm cluster replace t master --trust-on-first-use" in refused.stderr


def test_without_being_asked_nobody_is_trusted(cm: CommandLine, project: Project) -> None:
    """Where nobody is told, an operation ends at once, undone, and says which other ways there are."""
    with silent_heat(project), second_machine(cm) as second:
        answer = second("cluster", "import", "t", "--key", str(second.home / "key"), expect=1)
        assert second("cluster", "list", "-f", "json").stdout.strip() == "[]"

    assert "the cloud does not show what nodes have told Heat, so nobody vouches for its host key" in answer.stderr
    assert "host_keys: console in providers.yaml" in answer.stderr
    assert "--trust-on-first-use" in answer.stderr


def test_replace_pins_again(cm: CommandLine, project: Project) -> None:
    """A worker that is made anew tells its key through a handle of that operation, and is no guess any more."""
    before = pinned(cm)
    cm("cluster", "replace", "t", "worker-1", timeout=600)

    assert sources(cm) == ["first use", "handle"]
    assert [handle.split("_")[-2] for handle in handles(project).values()] == ["create", "replace"]
    assert pinned(cm) == true_keys(cm, project)
    assert {name for name, key in pinned(cm).items() if key != before[name]} == {"worker-1"}


def test_scale_pins_again(cm: CommandLine, project: Project) -> None:
    """A new worker's handle counts before the key that it shows, also where that may be trusted."""
    before = pinned(cm)
    cm("cluster", "scale", "t", "+1", "--trust-on-first-use", timeout=600)

    assert sources(cm) == ["first use", "handle", "handle"]
    assert pinned(cm) == true_keys(cm, project)
    assert before.items() <= pinned(cm).items()


def test_rebuild_pins_again(cm: CommandLine, project: Project) -> None:
    """Servers that Nova has made anew tell their new host keys through new handles; the master keeps its own."""
    before = pinned(cm)
    answer = cm("cluster", "write", "t", "worker", "--on-failure", "rebuild", "false", expect=1, timeout=600)
    after = pinned(cm)

    assert "outcome: rebuilt" in answer.stderr
    assert {name for name, key in after.items() if key != before[name]} == {"worker-1", "worker-2"}
    assert [handle.split("_")[-2] for handle in handles(project).values()] == ["create", "write", "write"]
    assert sources(cm) == ["first use", "handle", "handle"]
    cm("cluster", "verify", "t")


def test_no_node_speaks_for_another(cm: CommandLine, project: Project) -> None:
    """Heat takes a node's signal at every handle of the stack; an import still pins what each node itself has told."""
    headers, _ = command_of(project, handles(project)[2])
    servers = [row["provider_id"] for row in nodes_of(cm).values()]
    for index in (0, 1):
        _, url = command_of(project, handles(project)[index])
        mark = seal(headers["X-Auth-Token"], servers[index], FORGED)
        said = {"status": "SUCCESS", "id": "forged", "data": f"{mark} {FORGED}"}
        assert requests.post(url, json=said, headers=headers, timeout=60).status_code == 200

    with second_machine(cm) as second:
        second("cluster", "import", "t", "--key", str(second.home / "key"))
        assert pinned(second) == pinned(cm)
        assert sources(second) == ["handle", "handle", "handle"]
