"""Using a cluster: commands, logins, files to and from nodes, other tools' inventories, stop and start, the mesh."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import refuse
from tests.support.command_line import SYSTEM_PATH, CommandLine

NODES = ["t-master", "t-worker-1", "t-worker-2"]
# Words that a shell would change if anybody forgot to quote them.
WORDS = ["a  b", "$HOME", "`id`", "it's", '"', "*", ";", "-n", "--", "\\", "ü", ""]


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` of two workers."""
    shared_cm("cluster", "create", "t", "-n", "2", timeout=600)
    yield shared_cm


def rows(cm: CommandLine, *words: str, expect: int = 0) -> list[dict[str, Any]]:
    """Run `cm cluster WORDS...`, which answers rows as JSON."""
    found: list[dict[str, Any]] = json.loads(cm("cluster", *words, expect=expect).stdout)
    return found


# --- cmd -------------------------------------------------------------------------------------------------------


def test_equal_answers_are_folded_and_odd_ones_stand_last(cluster: CommandLine) -> None:
    """Nodes that answer the same share a line; the node that differs comes after them, with its exit code."""
    line = "case $(hostname) in *-1) echo odd; exit 7;; esac; echo even"
    answer = cluster("cluster", "cmd", "t", line, expect=1)

    assert "master,worker-2: even\nworker-1 [exit 7]: odd\n" == answer.stdout


def test_cmd_answers_a_row_for_each_node(cluster: CommandLine) -> None:
    """With -f json there is a row a node, in the order of nodes, with the keys and types that scripts rely on."""
    found = rows(cluster, "cmd", "t", "-f", "json", "hostname; echo bad >&2; test $(hostname) != t-worker-2", expect=1)

    assert NODES == [row["node"] for row in found]
    assert [f"{node}\n" for node in NODES] == [row["stdout"] for row in found]
    assert [0, 0, 1] == [row["exit"] for row in found]
    for row in found:
        assert {"node", "exit", "stdout", "stderr", "seconds"} == set(row)
        assert "bad\n" == row["stderr"]
        assert 0 < row["seconds"] < 60


def test_words_arrive_as_they_were_typed(cluster: CommandLine) -> None:
    """Several words are an argument vector, for `cmd` as for `ssh`; one word is a line for the nodes' shell."""
    count = "import sys; print(sys.argv[1:])"
    for command in (("cmd", "t", "-t", "1", "-f", "value", "-c", "stdout"), ("ssh", "t", "-t", "worker-1")):
        said = cluster("cluster", *command, "--", "python3", "-c", count, *WORDS).stdout
        assert repr(WORDS) in said
        assert "4" in cluster("cluster", *command, "--", "echo $((2+2))").stdout


def test_a_node_that_is_slow_is_given_up(cluster: CommandLine) -> None:
    """--timeout ends a command on the node, and says so in that node's answer."""
    (row,) = rows(cluster, "cmd", "t", "-t", "master", "--timeout", "1", "-f", "json", "sleep 77", expect=1)

    assert -1 == row["exit"]
    assert "timed out after 1 s\n" == row["stderr"]
    assert (
        ""
        == cluster(
            "cluster", "cmd", "t", "-t", "master", "-f", "value", "-c", "stdout", "pgrep -fx 'sleep 77' || :"
        ).stdout.strip()
    )


# --- ssh -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_ssh_ends_with_the_remote_code(cluster: CommandLine, code: int) -> None:
    """`ssh` is the system's ssh: what the command ends with, `cm` ends with."""
    cluster("cluster", "ssh", "t", f"exit {code}", expect=code)


def test_ssh_goes_where_it_is_told(cluster: CommandLine) -> None:
    """Without a node to the master; names, short names and indices name one."""
    for target, node in (
        (None, "t-master"),
        ("worker-2", "t-worker-2"),
        ("t-worker-1", "t-worker-1"),
        ("0", "t-master"),
    ):
        option = [] if target is None else ["-t", target]
        assert f"{node}\n" == cluster("cluster", "ssh", "t", *option, "hostname").stdout


def test_ssh_passes_its_input_on(cluster: CommandLine) -> None:
    """What `cm` reads, the remote command reads."""
    assert "one\ntwo\n" == cluster("cluster", "ssh", "t", "--", "cat", stdin="one\ntwo\n").stdout


# --- put and get -----------------------------------------------------------------------------------------------


def test_a_file_goes_to_nodes_and_comes_back(cluster: CommandLine, tmp_path: Path) -> None:
    """`put` brings a file, with its permissions, to all nodes; `get` brings one back from each, byte by byte."""
    content = os.urandom(300_000)
    local = tmp_path / "a file's name"
    local.write_bytes(content)
    local.chmod(0o750)
    put = rows(cluster, "put", "t", str(local), "/tmp/", "-f", "json")
    mode = cluster("cluster", "cmd", "t", "--", "stat", "-c", "%a", "/tmp/a file's name").stdout
    got = rows(cluster, "get", "t", "/tmp/a file's name", str(tmp_path / "got"), "-f", "json")

    assert NODES == [row["node"] for row in put]
    assert [0, 0, 0] == [row["exit"] for row in put]
    assert "master,worker-[1-2]: 750\n" == mode
    assert [str(tmp_path / "got" / node / "a file's name") for node in NODES] == [row["stdout"] for row in got]
    assert [content] * 3 == [(tmp_path / "got" / node / "a file's name").read_bytes() for node in NODES]


def test_get_never_overwrites(cluster: CommandLine, tmp_path: Path) -> None:
    """When one of the files is there, nothing is copied from any node, and it stays as it is."""
    there = tmp_path / "t-worker-2" / "hostname"
    there.parent.mkdir()
    there.write_text("mine")
    refused = cluster("cluster", "get", "t", "/etc/hostname", str(tmp_path), expect=2)

    assert f"{there} exists; get never overwrites" in refused.stderr
    assert "mine" == there.read_text()
    assert [there.parent] == list(tmp_path.iterdir())


def test_get_from_one_node_names_the_file(cluster: CommandLine, tmp_path: Path) -> None:
    """From a single node `get` makes the file that is named, or one of the same name in a folder."""
    cluster("cluster", "get", "t", "/etc/hostname", str(tmp_path / "name"), "-t", "worker-1")
    cluster("cluster", "get", "t", "/etc/hostname", str(tmp_path), "-t", "worker-1")
    cluster("cluster", "get", "t", "/etc/hostname", f"{tmp_path}/new/", "-t", "worker-2")

    assert "t-worker-1\n" == (tmp_path / "name").read_text() == (tmp_path / "hostname").read_text()
    assert "t-worker-2\n" == (tmp_path / "new" / "hostname").read_text()


def test_a_file_that_cannot_be_copied_leaves_nothing(cluster: CommandLine, tmp_path: Path) -> None:
    """What is missing or forbidden on the nodes is exit 1 with the node's own words, and no half file anywhere."""
    for remote, reason in (("/etc/nothing", "No such file"), ("/etc/shadow", "Permission denied")):
        found = rows(cluster, "get", "t", remote, str(tmp_path / "got"), "-f", "json", expect=1)
        assert [1, 1, 1] == [row["exit"] for row in found]
        assert all(reason in row["stderr"] for row in found)
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]
    (tmp_path / "local").write_text("x")
    found = rows(cluster, "put", "t", str(tmp_path / "local"), "/etc/local", "-f", "json", expect=1)
    assert all("Permission denied" in row["stderr"] for row in found)
    assert "" == cluster("cluster", "ssh", "t", "--", "ls -A /etc | grep local$ || :").stdout


# --- inventories -----------------------------------------------------------------------------------------------


def test_ansible_reaches_all_nodes_by_its_inventory(cluster: CommandLine, tmp_path: Path) -> None:
    """`ansible -m ping` with the inventory of `cm`, and nothing else, reaches every node and knows the groups."""
    ansible = shutil.which("ansible", path=f"{Path(sys.executable).parent}:{SYSTEM_PATH}")
    if ansible is None:
        refuse("no ansible here: pip install ansible-core")
    inventory = tmp_path / "hosts.yaml"
    inventory.write_text(cluster("cluster", "inventory", "t", "-F", "ansible").stdout)

    # Unix sockets lie in it: their paths must be short.
    sockets = cluster.home / "cp"

    def call(*words: str) -> str:
        done = subprocess.run(
            [str(ansible), "-i", str(inventory), "-o", *words],
            env={
                "HOME": str(tmp_path),
                "PATH": SYSTEM_PATH,
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert {f"{node} | SUCCESS" for node in NODES} == {
        line.split(" =>")[0] for line in call("all", "-m", "ping").splitlines()
    }
    asked = call("workers", "-m", "command", "-a", "hostname")
    assert ["t-worker-1", "t-worker-2"] == sorted(line.split("(stdout) ")[1] for line in asked.splitlines())
    assert "root" in call("master", "-b", "-m", "command", "-a", "whoami")


def test_ssh_reaches_all_nodes_by_its_configuration(cluster: CommandLine, tmp_path: Path) -> None:
    """`ssh -F` and `scp -F` with what `-F ssh` prints reach every node by both names, without a question."""
    config = tmp_path / "config"
    config.write_text(cluster("cluster", "inventory", "t", "-F", "ssh").stdout)
    for name, node in (("worker-2", "t-worker-2"), ("t-master", "t-master")):
        done = subprocess.run(
            ["ssh", "-F", str(config), "-o", "BatchMode=yes", name, "hostname"], capture_output=True, text=True
        )
        assert (0, f"{node}\n", "") == (done.returncode, done.stdout, done.stderr)
    subprocess.run(["scp", "-q", "-F", str(config), "worker-1:/etc/hostname", str(tmp_path / "scp")], check=True)
    assert "t-worker-1\n" == (tmp_path / "scp").read_text()


def test_a_node_with_another_host_key_is_not_talked_to(cluster: CommandLine, tmp_path: Path) -> None:
    """With another key pinned, the system's ssh refuses: host keys are never taken on trust."""
    config = tmp_path / "config"
    text = cluster("cluster", "inventory", "t", "-F", "ssh").stdout
    known = next(
        line.split(None, 1)[1].strip('"')
        for line in map(str.strip, text.splitlines())
        if line.startswith("UserKnownHosts")
    )
    others = Path(known).read_text().replace("cm-t-master ", "cm-x ").replace("cm-t-worker-1 ", "cm-t-master ")
    (tmp_path / "known").write_text(others)
    config.write_text(text.replace(known, str(tmp_path / "known")))
    done = subprocess.run(["ssh", "-F", str(config), "t-master", "hostname"], capture_output=True, text=True)

    assert (255, "") == (done.returncode, done.stdout)
    assert "Host key verification failed" in done.stderr


def test_hosts_and_nodeset_name_all_nodes(cluster: CommandLine) -> None:
    """`-F hosts` is what the nodes themselves have in /etc/hosts; `-F nodeset` folds the names."""
    hosts = cluster("cluster", "inventory", "t", "-F", "hosts").stdout
    on_node = cluster("cluster", "ssh", "t", "-t", "worker-1", "--", "grep t- /etc/hosts | grep -v '^#'").stdout

    assert hosts == on_node
    assert 3 == len(hosts.splitlines())
    assert "t-master,t-worker-[1-2]\n" == cluster("cluster", "inventory", "t", "-F", "nodeset").stdout


# --- what is told and kept -------------------------------------------------------------------------------------


def test_scripts_are_listed_in_order_and_shown_as_written(cluster: CommandLine) -> None:
    """`scripts` tells order, role, digest and result by node; `--show N` prints the script byte by byte."""
    text = '#!/bin/bash\n# ünïcode\necho "$CM_NODE is $CM_ROLE $CM_INDEX of $CM_CLUSTER"\n'
    cluster("cluster", "write", "t", "worker", "--expect", "t-worker-[12] is worker [12] of t", stdin=text)
    cluster("cluster", "write", "t", "master", "--", "echo", "it's  me")
    cluster("cluster", "write", "t", "all", "--", "exit 3", expect=1)
    first, second = rows(cluster, "scripts", "t", "-f", "json")

    assert (1, "worker", "remembered") == (first["order"], first["role"], first["state"])
    assert {"t-worker-1": 0, "t-worker-2": 0} == first["result"]
    assert (2, "master", {"t-master": 0}) == (second["order"], second["role"], second["result"])
    assert text == cluster("cluster", "scripts", "t", "--show", "1").stdout
    assert "echo 'it'\"'\"'s  me'\n" == cluster("cluster", "scripts", "t", "--show", "2").stdout
    assert [2] == [row["order"] for row in rows(cluster, "scripts", "t", "master", "-f", "json")]


def test_events_tell_what_happened(cluster: CommandLine) -> None:
    """`events` has the steps of every operation in order of time, each begun and done, with node and seconds."""
    events = rows(cluster, "events", "t", "-f", "json")
    create = [event for event in events if "-create-" in event["operation"]]
    steps = [event["step"] for event in create if event["kind"] == "done" and not event["node"]]

    assert sorted(event["at"] for event in events) == [event["at"] for event in events]
    assert ["prepare", "image", "provision", "reach", "wire", "scripts", "verify"] == steps
    assert set(NODES) == {event["node"] for event in create if event["step"] == "reach" and event["kind"] == "done"} - {
        ""
    }
    assert all(event["seconds"] >= 0 for event in create if event["kind"] == "done")
    assert any(event["kind"] == "failed" and "exit status 3" in event["message"] for event in events)


# --- stop and start --------------------------------------------------------------------------------------------


def test_stop_and_start_keep_the_disks(cluster: CommandLine) -> None:
    """A stopped cluster says so at once to whoever asks; started again, it has its files, names, keys and trust."""
    cluster("cluster", "cmd", "t", "hostname >kept; sudo touch /root/kept; sync")
    cluster("cluster", "stop", "t")
    assert ["stopped"] == cluster("cluster", "list", "-f", "value", "-c", "state").stdout.split()
    assert ["stopped"] * 3 == [row["state"] for row in rows(cluster, "nodes", "t", "-f", "json")]
    for words in (
        ("cmd", "t", "hostname"),
        ("ssh", "t", "hostname"),
        ("verify", "t"),
        ("write", "t", "all", "true"),
        ("scale", "t", "3"),
    ):
        assert "cm cluster start t" in cluster("cluster", *words, expect=2, timeout=20).stderr
    cluster("cluster", "stop", "t")
    cluster("cluster", "start", "t")

    assert NODES == [row["stdout"].strip() for row in rows(cluster, "cmd", "t", "-f", "json", "cat kept")]
    cluster("cluster", "cmd", "t", "sudo test -e /root/kept")
    assert ["ready"] == cluster("cluster", "list", "-f", "value", "-c", "state").stdout.split()
    assert 1 == len(
        cluster("cluster", "cmd", "t", "-t", "worker", "--", "ssh", "master", "hostname").stdout.splitlines()
    )
    cluster("cluster", "start", "t")


# --- mesh ------------------------------------------------------------------------------------------------------

LOGIN = "ssh -n -o BatchMode=yes -o ConnectTimeout=10 {} hostname 2>&1 || :"


@pytest.mark.parametrize(
    ("mesh", "may"), [("master-to-workers", {("t-master", "worker-1")}), ("none", set[tuple[str, str]]())]
)
def test_the_mesh_is_what_the_profile_says(cm: CommandLine, mesh: str, may: set[tuple[str, str]]) -> None:
    """A mesh other than `all` lets in only whom it says; names and host keys are there all the same."""
    cm("cluster", "create", "t", "-n", "1", "--set", f"mesh={mesh}", timeout=600)
    for node, peer in (("t-master", "worker-1"), ("t-worker-1", "master")):
        said = cm("cluster", "ssh", "t", "-t", node, "--", LOGIN.format(peer)).stdout.strip()
        if (node, peer) in may:
            assert f"t-{peer}" == said
        else:
            assert "Permission denied" in said
            assert "verification failed" not in said
    cm("cluster", "verify", "t", "--full-mesh")
