"""A cloud whose services end: on a devcloud of its own, since every other test would notice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud import processes
from devcloud.layout import REPOSITORY, SERVICES, Cloud
from tests.support import devcloud_clients
from tests.support.cloud_project import Project, cm_of, nothing_left, own_project
from tests.support.command_line import Answer, CommandLine
from tests.support.devcloud_clients import Devcloud
from tests.support.journal_watch import started

Services = dict[str, int | None]
PROVIDERS = "dc: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small}}\n"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """Return the services of a devcloud beside the first, as another checkout has started them that is gone now."""
    environ = {**os.environ, "DEVCLOUD_NUMBER": "1"}
    other = tmp_path_factory.mktemp("checkout")
    for name in ("devcloud", "cloudmesh_cluster"):
        shutil.copytree(REPOSITORY / name, other / name, ignore=shutil.ignore_patterns("__pycache__", "_data"))
    subprocess.run([other / "devcloud" / "devcloud", "up"], check=True, env=environ)
    shutil.rmtree(other)
    return services(Cloud.from_environment(environ))


@pytest.fixture(scope="module")
def own_devcloud(theirs: Services) -> Devcloud:
    """Return that devcloud, started again by this checkout; no other module may use it."""
    return devcloud_clients.up("engine", number=1)


@pytest.fixture(scope="module")
def project(own_devcloud: Devcloud) -> Iterator[Project]:
    """Return a project of the cloud that is only for these tests."""
    with tempfile.TemporaryDirectory(prefix="cm-") as folder, own_project(own_devcloud, Path(folder)) as made:
        yield made


@pytest.fixture(scope="module")
def cm(project: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` that knows the project as provider `dc`."""
    with cm_of(project, cm_cache, PROVIDERS.format(cloud=project.name)) as made:
        yield made


@pytest.fixture(autouse=True)
def _empty_cloud(project: Project, cm: CommandLine) -> Iterator[None]:
    """Let no test leave anything in the cloud."""
    with nothing_left(project, cm):
        yield


def test_services_of_a_removed_checkout_are_restarted(theirs: Services, own_devcloud: Devcloud) -> None:
    """`up` replaces services that another checkout has started, which may be gone, and leaves its own alone."""
    cloud = own_devcloud.cloud
    ours = services(cloud)
    assert not set(theirs.values()) & set(ours.values())
    assert own_devcloud.admin.connection.compute.get("/").status_code == 200

    devcloud_clients.up("engine", number=cloud.number)
    assert services(cloud) == ours


def test_heat_that_dies(cm: CommandLine, project: Project) -> None:
    """Heat dies in the middle of a create, and of a growth: what is left is named; resume finishes, with Heat back."""
    words = ("cluster", "create", "t", "--provider", "dc", "-n", "1", "-y")
    answer = without_heat(cm, project, *words, since="subnet: create complete")
    assert answer.exit == 4, answer
    assert "nothing answers at http://" in answer.stderr
    assert "left: stack cm-t" in answer.stderr
    assert "cm cluster resume t" in answer.stderr
    cm("cluster", "resume", "t", timeout=400)

    # It dies before it writes down the server that it has asked for, which Nova makes all the same; and so does cm.
    growth, since = ("cluster", "scale", "t", "+1"), "port_2: create complete"
    answer = without_heat(cm, project, *growth, since=since, number=signal.SIGKILL)
    assert answer.exit == -signal.SIGKILL, answer
    assert ": it is taken over" in cm("cluster", "resume", "t", timeout=400).stderr
    assert len(json.loads(cm("cluster", "nodes", "t", "-f", "json").stdout)) == 3
    cm("cluster", "delete", "t", "-y")


def without_heat(
    cm: CommandLine, project: Project, *words: str, since: str, number: signal.Signals | None = None
) -> Answer:
    """Return what `cm WORDS...` answers when Heat is killed once it has said something; then Heat is started again.

    Args:
        cm: which `cm`.
        project: where.
        words: the command line.
        since: what it has said by then.
        number: a signal that `cm` itself is sent.

    """
    cloud = project.devcloud.cloud
    with started(cm, *words) as running:
        running.wait_for_words(since)
        heat = processes.process_id(cloud, "heat")
        assert heat
        try:
            os.kill(heat, signal.SIGKILL)
            if number:
                running.send(number)
            return running.answer()
        finally:
            devcloud_clients.up("engine", number=cloud.number)


def test_servers_come_back_with_the_cloud(cm: CommandLine, project: Project) -> None:
    """`devcloud down` ends everything, `up` brings back the servers that ran, as they were."""
    cloud = project.devcloud.cloud
    cm("cluster", "create", "t", "--provider", "dc", "-n", "1", "-y", timeout=400)
    cm("cluster", "cmd", "t", "echo kept > keep")
    assert devcloud_clients.program(cloud, "down").returncode == 0
    assert processes.marked(cloud) == []
    assert not Path("/sys/class/net", cloud.bridge).exists()
    assert devcloud_clients.program(cloud, "up").returncode == 0
    seen = json.loads(cm("cluster", "cmd", "t", "-f", "json", "cat keep", timeout=400).stdout)
    assert [row["stdout"] for row in seen] == ["kept\n"] * 2
    cm("cluster", "verify", "t")
    cm("cluster", "delete", "t", "-y")


def services(cloud: Cloud) -> Services:
    """Return the process of each service, which must run."""
    found = {name: processes.process_id(cloud, name) for name in SERVICES}
    assert None not in found.values()
    return found
