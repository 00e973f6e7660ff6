"""What goes wrong on OpenStack: each failure says its first cause, keeps evidence, and leaves an empty cloud."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cloud_project import Project, cm_of, nothing_left
from tests.support.command_line import Answer, CommandLine
from tests.support.devcloud_clients import wait_for
from tests.support.journal_watch import Instant, begun, done, signalled, started

STACKS = 30
"""How many a project of devcloud may have."""
PROVIDERS = """\
dc: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small}}
silent: {{type: openstack, os_cloud: {cloud}, image: never-boots, flavor: m1.tiny, signal: ssh}}
mars: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small, availability_zone: mars}}
restricted: {{type: openstack, os_cloud: restricted, image: debian-12, flavor: m1.small}}
wrong: {{type: openstack, os_cloud: wrong, image: debian-12, flavor: m1.small}}
down: {{type: openstack, os_cloud: down, image: debian-12, flavor: m1.small}}
nowhere: {{type: openstack, os_cloud: nowhere, image: debian-12, flavor: m1.small}}
"""
NODES_IN_STATE = "SELECT 1 FROM nodes WHERE state=:step GROUP BY cluster HAVING count(*) >= "
LATER = (
    done("prepare"),
    begun("provision"),
    Instant("first server there", NODES_IN_STATE + "1", step="booting"),
    Instant("first node reached", NODES_IN_STATE + "1", step="reached"),
    begun("wire"),
    begun("scripts"),
    begun("verify"),
)
"""Instants of a create, each one after the others."""


@pytest.fixture(scope="module")
def project(project: Project) -> Project:
    """Return the project of these tests, with entries of clouds.yaml that are of no use."""
    project.give_entry("wrong", auth={"password": "wrong"})
    project.give_entry("down", auth={"auth_url": f"http://{project.devcloud.cloud.address}:9/v3"})
    return project


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
    answer = cm("cluster", "create", "t", "--provider", "silent", "-n", "1", "--timeout", "60s", "-y", expect=1)

    assert "out of time after 60 s; not done: " in answer.stderr
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


def test_a_quota_that_is_too_small(cm: CommandLine, project: Project) -> None:
    """All quotas that do not suffice are named at once, with what is needed and left, before anything is made."""
    with project.quota(instances=1, cores=1, floatingip=0, security_group=2):
        answer = cm("cluster", "create", "t", "--provider", "dc", "-n", "1", "-y", expect=2)

    for said in (
        "2 instances are needed, 1 of 1 are left",
        "2 cores are needed, 1 of 1 are left",
        "1 floating IPs are needed, 0 of 0 are left",
        "2 security groups are needed, ",
    ):
        assert said in answer.stderr, answer


def test_what_does_not_fit(cm: CommandLine, project: Project) -> None:
    """An image that is not there and a flavor that is too small are told together, each with its role."""
    with project.devcloud.admin.flavor("t-tiny", ram=64, disk=1):
        tiny = cm("cluster", "create", "t", "--provider", "dc", "--flavor", "t-tiny", "-n", "1", "-y", expect=2)
    wrong = cm(
        "cluster", "create", "t", "--provider", "dc", "--image", "nix", "--flavor", "m9", "-n", "1", "-y", expect=2
    )

    assert "roles.worker.flavor: flavor 't-tiny' has 64 MiB of memory, image 'debian-12' needs 256 MiB" in tiny.stderr
    for said in ("roles.master.image: no image 'nix'", "roles.worker.flavor: no flavor 'm9'"):
        assert said in wrong.stderr, wrong


def test_too_many_stacks(cm: CommandLine, project: Project) -> None:
    """Heat's limit of stacks is met before anything is made, in Heat's own words."""
    heat, names = project.member.heat, [f"t-{number}" for number in range(STACKS)]
    for name in names:
        heat.stacks.create(stack_name=name, template="heat_template_version: 2018-08-31\n")
    answer = cm("cluster", "create", "t", "--provider", "dc", "-n", "1", "-y", expect=2)
    for name in names:
        heat.stacks.delete(name)
    wait_for(lambda: not list(heat.stacks.list()))

    assert f"You have reached the maximum stacks per tenant, {STACKS}" in answer.stderr


def test_a_name_that_is_taken(cm: CommandLine, project: Project) -> None:
    """A stack of that name which `cm` did not make is left alone, in whatever state it is."""
    failing = (
        "{heat_template_version: 2018-08-31, resources: {x: {type: OS::Heat::TestResource, properties: {fail: true}}}}"
    )
    project.member.heat.stacks.create(stack_name="cm-t", template=failing, disable_rollback=False)
    wait_for(lambda: project.member.stack_status("cm-t") == "ROLLBACK_COMPLETE")
    answer = cm("cluster", "create", "t", "--provider", "dc", "-n", "1", "-y", expect=2)

    assert "there is a stack cm-t already, ROLLBACK_COMPLETE" in answer.stderr
    assert project.member.stack_status("cm-t") == "ROLLBACK_COMPLETE"
    project.member.delete_stack("cm-t")


def test_a_stack_that_somebody_deletes(cm: CommandLine, project: Project) -> None:
    """A stack that disappears while it is made is told as that, and the cluster goes."""
    with started(cm, "cluster", "create", "t", "--provider", "dc", "-n", "1", "-y") as running:
        running.wait_for_words("network: create complete")
        project.member.heat.stacks.delete("cm-t")
        answer = running.answer()

    assert answer.exit == 1, answer
    assert "stack cm-t was deleted while it was worked on" in answer.stderr
    assert "outcome: rolled back" in answer.stderr


def test_restricted_application_credential(cm: CommandLine, project: Project) -> None:
    """A credential with which Heat can't work is refused at once, with the option that makes a good one."""
    project.give_application_credential("restricted", unrestricted=False)
    answer = cm("provider", "check", "restricted", expect=2)

    assert "the application credential is restricted" in answer.stderr
    assert "--unrestricted" in answer.stderr


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
