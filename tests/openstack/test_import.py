"""A cluster on OpenStack seen from a second machine, which has nothing but its login key; and as garbage."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import Devcloud

NAME, PLAIN = f"i{secrets.token_hex(3)}", f"p{secrets.token_hex(3)}"
STACK = f"cm-{NAME}"
SETTINGS = "{type: openstack, os_cloud: devcloud, image: debian-12, flavor: m1.small, cidr: 10.91.0.0/24}"
SIZE = ("--image", "debian-12", "--flavor", "m1.small")


@pytest.fixture(scope="module")
def first(devcloud: Devcloud, shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` of the machine that has made a cluster of one worker, with a script in its profile."""
    home = shared_cm.home
    (home / "providers.yaml").touch(mode=0o600)
    (home / "providers.yaml").write_text(f"dc: {SETTINGS}\n", encoding="utf-8")
    (home / "profile.yaml").write_text(
        "scripts: {worker: [{name: mark, run: 'hostname > /root/mark'}]}\n"
        "checks: [{name: marked, on: worker, run: sudo -n cat /root/mark}]\n"
    )
    shared_cm("cluster", "create", NAME, "-p", "./profile.yaml", "--provider", "dc", "-n", "1", cwd=home, timeout=600)
    (home / "late.sh").write_text("touch /root/late\n")
    shared_cm("cluster", "write", NAME, "all", "--file", str(home / "late.sh"))
    yield shared_cm
    shared_cm("cluster", "delete", NAME, "--force", "-y", expect=None)
    devcloud.delete_stack(STACK)


@pytest.fixture(scope="module")
def second(first: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` of a machine that knows the cloud, and has the cluster's login key, and nothing else."""
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    shutil.copy(first.home / "clusters" / NAME / "id_ed25519", home / "key")
    yield replace(first, home=home, environ={"OS_CLOUD": "devcloud"})
    shutil.rmtree(home)


def rows(cm: CommandLine, *words: str) -> list[dict[str, Any]]:
    """Return what a command answers as JSON."""
    found = json.loads(cm(*words, "-f", "json").stdout)
    assert isinstance(found, list)
    return found


def servers_of(devcloud: Devcloud) -> dict[str, str]:
    """Return the id of each server that Nova has of the cluster, by name."""
    return {server.name: server.id for server in devcloud.nova.servers.list(search_opts={"name": f"^{NAME}-"})}


def clusters(cm: CommandLine) -> list[str]:
    """Return the names of the clusters that are known there."""
    return [row["name"] for row in rows(cm, "cluster", "list")]


def test_the_stack_says_what_it_is(first: CommandLine, devcloud: Devcloud) -> None:
    """What an import needs is in the stack: profile, settings, names of scripts; neither their text nor a key."""
    [output] = [each for each in devcloud.heat.stacks.get(STACK).outputs if each["output_key"] == "cm_cluster"]
    told = json.loads(output["output_value"])

    assert [check["name"] for check in told["profile"]["checks"]] == ["marked"]
    assert [script["name"] for script in told["scripts"]] == ["mark"]
    assert told["provider_settings"]["cidr"] == told["network"] == "10.91.0.0/24"
    assert "os_cloud" not in told["provider_settings"]
    assert "/root/mark'" not in output["output_value"]
    assert "hostname >" not in output["output_value"]
    assert "PRIVATE" not in output["output_value"]


def test_remote_clusters(first: CommandLine, second: CommandLine) -> None:
    """The cloud's list has the cluster for both machines; one of them knows it."""
    for cm, known in ((first, True), (second, False)):
        [row] = [each for each in rows(cm, "cluster", "list", "--remote") if each["name"] == NAME]
        assert (row["state"], row["nodes"], row["known"]) == ("create_complete", 2, known)
    assert clusters(second) == []


def test_a_key_that_others_can_read_is_refused(second: CommandLine) -> None:
    """As OpenSSH does, cm refuses a private key that others can read; nothing is known afterwards."""
    (second.home / "key").chmod(0o640)
    answer = second("cluster", "import", NAME, "--key", str(second.home / "key"), expect=2)
    (second.home / "key").chmod(0o600)

    assert "can be read by others (mode 0640)" in answer.stderr
    assert clusters(second) == []


def test_another_key_is_refused(second: CommandLine) -> None:
    """A key that does not open the cluster's nodes is refused before anybody is asked."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", second.home / "other"], check=True)
    answer = second("cluster", "import", NAME, "--key", str(second.home / "other"), expect=2)

    assert f"is not the login key of cluster '{NAME}'" in answer.stderr
    assert clusters(second) == []


def test_what_is_not_there_is_not_imported(second: CommandLine) -> None:
    """A cluster that the cloud does not have is wrong usage that names those it has."""
    answer = second("cluster", "import", "nothing", "--key", str(second.home / "key"), expect=2)

    assert "no cluster named 'nothing'" in answer.stderr


def test_killed_and_resumed(first: CommandLine, second: CommandLine) -> None:
    """An import that was killed half-way says so, and resume finishes it."""
    cm = replace(second, home=Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp")))
    words = cm.argv("cluster", "import", NAME, "--key", str(second.home / "key"))
    with subprocess.Popen(words, env=cm.environment(), stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert any("reach ..." in line for line in running.stderr)
        running.kill()
    assert cm("cluster", "show", NAME, "-f", "value", "-c", "state").stdout.strip() == "interrupted"

    cm("cluster", "resume", NAME)
    assert rows(cm, "cluster", "nodes", NAME) == rows(first, "cluster", "nodes", NAME)
    assert cm("cluster", "show", NAME, "-f", "value", "-c", "state").stdout.strip() == "ready"
    shutil.rmtree(cm.home)


def test_import(first: CommandLine, second: CommandLine) -> None:
    """With its key alone another machine knows the cluster as the first one does, and says what it can't know."""
    answer = second("cluster", "import", NAME, "--key", str(second.home / "key"))
    own = [second.home / "clusters" / NAME / name for name in ("id_ed25519", "known_hosts")]

    assert rows(second, "cluster", "nodes", NAME) == rows(first, "cluster", "nodes", NAME)
    assert own[1].read_text() == (first.home / "clusters" / NAME / "known_hosts").read_text()
    assert {path.stat().st_mode & 0o777 for path in own} == {0o600}
    assert [row["name"] for row in rows(second, "cluster", "scripts", NAME)] == ["mark"]
    assert "the stack knows nothing of late.sh in" in answer.stderr
    again = second("cluster", "import", NAME, "--key", str(second.home / "key"), expect=2)
    assert f"cluster '{NAME}' is known here already" in again.stderr


def test_verify_passes(second: CommandLine) -> None:
    """All checks pass from there, that of the profile, too."""
    results = rows(second, "cluster", "verify", NAME)

    assert all(each["ok"] for each in results)
    assert {"marked", "bootstrap key dead", "scripts"} <= {each["check"] for each in results}


def test_scale_from_there(second: CommandLine, devcloud: Devcloud) -> None:
    """A worker that the other machine adds runs the cluster's script; the servers that were there stay."""
    before = servers_of(devcloud)
    second("cluster", "scale", NAME, "+1", timeout=600)
    after = servers_of(devcloud)
    marks = json.loads(second("cluster", "cmd", NAME, "-t", "worker", "-f", "json", "sudo -n cat /root/mark").stdout)

    assert [row["stdout"].strip() for row in marks] == [f"{NAME}-worker-1", f"{NAME}-worker-2"]
    assert {name: after[name] for name in before} == before


def test_scale_preview(second: CommandLine, devcloud: Devcloud) -> None:
    """A preview says what would come, go and stay, and does nothing."""
    shown = json.loads(second("cluster", "scale", NAME, "1", "--dry-run", "-f", "json").stdout)

    assert [(row["name"], row["action"]) for row in shown] == [
        (f"{NAME}-master", "keep"), (f"{NAME}-worker-1", "keep"), (f"{NAME}-worker-2", "remove"),
    ]  # fmt: skip
    assert f"{NAME}-worker-2" in servers_of(devcloud)


def test_no_healthy_node_is_made_anew(second: CommandLine, devcloud: Devcloud) -> None:
    """While Heat would make another node anew, scale and replace refuse to begin, and say which and how to go on."""
    before = servers_of(devcloud)
    devcloud.heat.resources.mark_unhealthy(STACK, "server_1", mark_unhealthy=True, resource_status_reason="a test")
    for words in (("scale", NAME, "+1"), ("scale", NAME, "+1", "--dry-run"), ("replace", NAME, "worker-2")):
        answer = second("cluster", *words, expect=2)
        assert "server_1 is CHECK_FAILED (a test)" in answer.stderr
        assert f"openstack stack resource mark unhealthy --reset {STACK} server_1" in answer.stderr
    assert servers_of(devcloud) == before

    devcloud.heat.resources.mark_unhealthy(STACK, "server_1", mark_unhealthy=False, resource_status_reason="a test")
    second("cluster", "scale", NAME, "+1", "--dry-run")


def test_rebuild_by_nova(second: CommandLine, devcloud: Devcloud) -> None:
    """A failed script that wants it has the workers made anew by Nova: same servers, new host keys, old scripts."""
    before = servers_of(devcloud)
    known_hosts = second.home / "clusters" / NAME / "known_hosts"
    pinned = known_hosts.read_text().splitlines()
    answer = second(
        *("cluster", "write", NAME, "worker", "--on-failure", "rebuild", "touch /root/half; false"),
        expect=1, timeout=600,
    )  # fmt: skip
    left = json.loads(second("cluster", "cmd", NAME, "-t", "worker", "-f", "json", "sudo -n ls /root").stdout)

    assert "rebuilt" in answer.stderr
    assert servers_of(devcloud) == before
    assert [row["stdout"].split() for row in left] == [["mark"], ["mark"]]
    assert known_hosts.read_text().splitlines()[0] == pinned[0]
    assert not set(known_hosts.read_text().splitlines()[1:]) & set(pinned)
    second("cluster", "verify", NAME)


def test_one_timeline(second: CommandLine) -> None:
    """Events have ours and Heat's, by time; Heat's name resource and node."""
    events = rows(second, "cluster", "events", NAME)
    cloud = [each for each in events if each["kind"] == "cloud"]

    assert [each["at"] for each in events] == sorted(each["at"] for each in events)
    assert {each["operation"].split("-")[1] for each in events if each["operation"]} >= {"import", "verify", "scale"}
    assert ("server_2", f"{NAME}-worker-2", "create complete") in {
        (each["step"], each["node"], each["message"]) for each in cloud
    }
    assert cloud[0]["at"] < next(each["at"] for each in events if each["operation"])


def test_events_without_the_cloud(second: CommandLine) -> None:
    """Where the cloud can't be reached, there are our own events, and a warning."""
    (second.home / "clouds.yaml").write_text(
        "clouds: {devcloud: {auth: {auth_url: 'http://127.0.0.1:9/v3', username: u, password: p, project_name: p}}}\n"
    )
    away = replace(second, environ={**second.environ, "OS_CLIENT_CONFIG_FILE": str(second.home / "clouds.yaml")})
    answer = away("cluster", "events", NAME, "-f", "json")

    assert "warning: without the cloud's own events: " in answer.stderr
    assert {each["kind"] for each in json.loads(answer.stdout)} >= {"begin", "done"}


def test_plain_openstack_makes_the_same_stack(first: CommandLine, devcloud: Devcloud, tmp_path: Path) -> None:
    """From the files of a dry run OpenStack's own client makes a stack of the same resources, by type and name."""
    words = ("cluster", "create", PLAIN, "--provider", "dc", "-n", "2", "--dry-run", "--output", str(tmp_path))
    totals = json.loads(first(*words, "-f", "json").stdout)["totals"]
    assert (totals["nodes"], totals["cpus"] >= 3, totals["memory"] > 0) == (3, True, True)
    room = {each["what"]: each for each in totals["room"]}
    assert room["instances"]["needed"] == 3 <= room["instances"]["left"]
    assert devcloud.stack_status(f"cm-{PLAIN}") is None
    assert PLAIN not in clusters(first)

    files = ("-t", str(tmp_path / "template.yaml"), "-e", str(tmp_path / "env.yaml"))
    plain = [str(devcloud.cloud.venv / "bin" / "openstack"), "--os-cloud", "devcloud", "stack", "create"]
    try:
        subprocess.run([*plain, *files, "--wait", f"cm-{PLAIN}"], check=True, timeout=300, capture_output=True)
        assert devcloud.stack_status(f"cm-{PLAIN}") == "CREATE_COMPLETE"
        assert resources_of(devcloud, f"cm-{PLAIN}") == resources_of(devcloud, STACK)
    finally:
        devcloud.delete_stack(f"cm-{PLAIN}")


def resources_of(devcloud: Devcloud, stack: str) -> list[tuple[str, str]]:
    """Return type and name of a stack's resources; the signal's bear the id of the operation, which is left out."""
    return sorted(
        (each.resource_type, each.resource_name.split("_2")[0] if "Wait" in each.resource_type else each.resource_name)
        for each in devcloud.heat.resources.list(stack)
    )


def test_garbage(second: CommandLine, devcloud: Devcloud) -> None:
    """To a machine that forgot the cluster it is garbage, to the one that knows it not; -y deletes it whole."""
    stranger = replace(second, home=Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp")))
    found = rows(stranger, "gc", NAME)

    assert found == [{"provider": "devcloud", "kind": "stack", "id": STACK, "cluster": NAME, "cluster_id": ANY}]
    assert rows(second, "gc", NAME) == []
    assert "Nobody is here to ask" in stranger("gc", "--delete", NAME, expect=2).stderr
    assert devcloud.stack_status(STACK) is not None

    assert stranger("gc", "--delete", "-y", NAME, timeout=600).exit == 0
    assert devcloud.stack_status(STACK) is None
    assert rows(stranger, "gc", NAME) == []
    shutil.rmtree(stranger.home)


def test_deleting_what_is_gone(second: CommandLine) -> None:
    """A cluster whose stack somebody else has deleted is deleted here without a word."""
    second("cluster", "delete", NAME, "-y", timeout=600)

    assert clusters(second) == []
