"""What goes wrong on OpenStack: each failure says its first cause, keeps evidence, and leaves an empty cloud."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud_project import Project, own_project
from tests.command_line import Answer, CommandLine
from tests.conftest import delete_clusters
from tests.devcloud_clients import Devcloud
from tests.journal_watch import Instant, begun, signalled, started

PROVIDERS = """\
dc: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small}}
silent: {{type: openstack, os_cloud: {cloud}, image: never-boots, flavor: m1.tiny, signal: ssh}}
deaf: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small, floating_ip: all, signal: ssh}}
mars: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small, availability_zone: mars}}
wrong: {{type: openstack, os_cloud: wrong, image: debian-12, flavor: m1.small}}
down: {{type: openstack, os_cloud: down, image: debian-12, flavor: m1.small}}
nowhere: {{type: openstack, os_cloud: nowhere, image: debian-12, flavor: m1.small}}
"""
NODES_IN_STATE = "SELECT 1 FROM nodes WHERE state=:step GROUP BY cluster HAVING count(*) >= "
LATER = (
    begun("prepare"),
    begun("provision"),
    Instant("first server there", NODES_IN_STATE + "1", step="booting"),
    Instant("first node reached", NODES_IN_STATE + "1", step="reached"),
    begun("wire"),
    begun("scripts"),
    begun("verify"),
)
"""Instants of a create, each one after the others."""


@pytest.fixture(scope="module")
def project(devcloud: Devcloud) -> Iterator[Project]:
    """Return a project that only these tests use."""
    with tempfile.TemporaryDirectory(prefix="cm-") as folder, own_project(devcloud, Path(folder)) as made:
        made.give_entry("wrong", password="wrong")
        made.give_entry("down", auth_url=f"http://{devcloud.cloud.address}:9/v3")
        yield made


@pytest.fixture(scope="module")
def cm(project: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` that knows the project as provider `dc`."""
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    providers = home / "providers.yaml"
    providers.touch(mode=0o600)
    providers.write_text(PROVIDERS.format(cloud=project.name), encoding="utf-8")
    command_line = CommandLine(home, cm_cache, environ={"OS_CLIENT_CONFIG_FILE": str(project.clouds)})
    yield command_line
    delete_clusters(command_line)
    shutil.rmtree(home)


@pytest.fixture(autouse=True)
def _empty_cloud(project: Project, cm: CommandLine) -> Iterator[None]:
    """Compare all that is in the project before and after each test: nothing may be left, and no cluster."""
    before = project.everything()
    yield
    assert project.everything() == before
    assert cm("cluster", "list", "-f", "json").stdout.strip() == "[]"


def evidence(cm: CommandLine, cluster: str) -> dict[str, str]:
    """Return the files that the newest operation on a cluster has kept, by name."""
    folder = cm.home / "clusters" / cluster / "logs" / history(cm, cluster)[-1]["operation"]
    return {path.name: path.read_text() for path in folder.glob("*")}


@pytest.mark.parametrize(
    ("provider", "code", "said"),
    [
        ("wrong", 2, "the cloud refuses the credentials"),
        ("nowhere", 2, "no credentials for OpenStack: Cloud nowhere was not found"),
        ("down", 1, "the cloud can't be reached: nothing answers at http://"),
    ],
)
@pytest.mark.parametrize("words", [("provider", "check"), ("cluster", "create", "t", "-y", "--provider")], ids=str)
def test_a_cloud_that_lets_nobody_in(
    cm: CommandLine, words: tuple[str, ...], provider: str, code: int, said: str
) -> None:
    """Bad credentials, a cloud that nobody knows and one that is down are told in one line, never as a bug."""
    answer = cm(*words, provider, expect=code)

    assert said in answer.stderr
    assert_explained(answer)


def test_a_script_that_fails(cm: CommandLine) -> None:
    """A worker whose script fails is named with the script's line; the cluster is rolled back, its evidence kept."""
    add_profile(cm, '{name: breaks, run: "true\\nls /nowhere\\n"}')
    answer = cm("cluster", "create", "t", "-p", "p", "--provider", "dc", "-y", expect=1, timeout=400)

    assert "script breaks failed on t-worker-1" in answer.stderr
    assert "line 2" in answer.stderr
    assert "/nowhere" in answer.stderr
    assert "outcome: rolled back" in answer.stderr
    kept = evidence(cm, "t")
    assert {"stack-events.log", "t-master.console.log", "t-worker-1.console.log", "t-worker-1.logs.log"} <= set(kept)
    assert "server_1  CREATE_COMPLETE" in kept["stack-events.log"]
    assert "BEGIN SSH HOST KEY KEYS" in kept["t-worker-1.console.log"]


def test_a_node_that_never_boots(cm: CommandLine) -> None:
    """A server that stays silent ends with the client's deadline: the nodes are named, with what their consoles say."""
    answer = cm("cluster", "create", "t", "--provider", "silent", "-n", "1", "--timeout", "25s", "-y", expect=1)

    assert "out of time after 25 s; not done: " in answer.stderr
    assert "reach" in answer.stderr.split("not done: ")[1]
    assert "the console of t-master is empty" in answer.stderr
    assert "the console of t-worker-1 is empty" in answer.stderr
    assert "outcome: rolled back" in answer.stderr
    assert "server_0  CREATE_COMPLETE" in evidence(cm, "t")["stack-events.log"]


def test_a_server_that_nova_refuses(cm: CommandLine) -> None:
    """What Heat says of the first resource that failed is the message, whatever failed because of it."""
    answer = cm("cluster", "create", "t", "--provider", "mars", "-n", "1", "-y", expect=1)

    assert "The requested availability zone is not available" in answer.stderr
    assert "cm: server_" in answer.stderr
    assert "outcome: rolled back" in answer.stderr
    assert "CREATE_FAILED" in evidence(cm, "t")["stack-events.log"]


def test_ctrl_c(cm: CommandLine) -> None:
    """Ctrl-C in the middle is exit 130, and takes everything back."""
    answer = interrupted(cm, "network: create complete", signal.SIGINT)

    assert answer.exit == 130, answer
    assert "create interrupted, rolled back" in answer.stderr


@pytest.mark.parametrize("words", ["provision ...", "subnet: create complete", "port_0: create complete"])
def test_a_killed_create_is_deleted(cm: CommandLine, project: Project, words: str) -> None:
    """A create that is killed while Heat still builds leaves what delete finds and removes, whatever comes after it."""
    assert interrupted(cm, words, signal.SIGKILL).exit == -signal.SIGKILL

    cm("cluster", "delete", "t", "-y")


def test_a_killed_create_is_resumed(cm: CommandLine) -> None:
    """One create is killed at seven instants, resumed after each, and verified in the end; its stack was made once."""
    assert signalled(cm, "cluster", "create", "t", "--provider", "dc", "-n", "1", at=LATER[0]).exit == -signal.SIGKILL
    for instant in LATER[1:]:
        assert signalled(cm, "cluster", "resume", "t", at=instant).exit == -signal.SIGKILL, instant
    cm("cluster", "resume", "t")

    cm("cluster", "verify", "t", "--full-mesh")
    assert [row["kind"] for row in history(cm, "t")][-2:] == ["create", "verify"]
    cm("cluster", "delete", "t", "-y")


def interrupted(cm: CommandLine, words: str, number: signal.Signals) -> Answer:
    """Create `t`, and send it a signal as soon as it has said some words."""
    with started(cm, "cluster", "create", "t", "--provider", "dc", "-n", "1", "-y") as running:
        running.wait_for_words(words)
        running.send(number)
        return running.answer()


def history(cm: CommandLine, cluster: str) -> list[dict[str, str]]:
    """Return the operations on a cluster, oldest first."""
    rows: list[dict[str, str]] = json.loads(cm("cluster", "history", cluster, "-f", "json").stdout)
    return rows


def add_profile(cm: CommandLine, script: str) -> None:
    """Store a profile `p` of one worker and one script for it."""
    folder = cm.home / "profiles.d"
    folder.mkdir(exist_ok=True)
    profile = f"name: p\nroles: {{worker: {{count: 1}}}}\nscripts: {{worker: [{script}]}}\n"
    (folder / "p.yaml").write_text(profile)


def assert_explained(answer: Answer) -> None:
    """Fail when something is called a bug, or shows a traceback."""
    assert "bug in cm" not in answer.stderr
    assert "Traceback" not in answer.stderr
