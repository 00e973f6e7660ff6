"""`cm cluster create` on real nodes: what the cluster can do afterwards, and what is left when it is deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.traces import traces

NODE_KEYS = {"name", "role", "index", "state", "private_ip", "public_ip", "provider_id"}
CHECK_KEYS = {"check", "node", "expected", "actual", "ok", "seconds"}


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` of three workers."""
    shared_cm("cluster", "create", "t", "--provider", "local", "-n", "3", timeout=600)
    yield shared_cm
    shared_cm("cluster", "delete", "t", "-y")


def test_nodes_have_the_keys_of_the_contract(cluster: CommandLine) -> None:
    """`nodes -f json` answers with a row a node: master first, with exactly the keys that scripts rely on."""
    nodes = json.loads(cluster("cluster", "nodes", "t", "-f", "json").stdout)

    assert ["t-master", "t-worker-1", "t-worker-2", "t-worker-3"] == [node["name"] for node in nodes]
    assert all(set(node) == NODE_KEYS for node in nodes)
    assert ["running"] * 4 == [node["state"] for node in nodes]


def test_workers_reach_the_master_by_its_short_name(cluster: CommandLine) -> None:
    """Every worker logs in to the master by name, without a prompt, and the equal answers are folded into one."""
    answer = cluster("cluster", "cmd", "t", "-t", "worker", "--", "ssh", "master", "hostname")

    assert 1 == answer.stdout.count("t-master")
    assert answer.stdout.startswith("worker-[1-3]: ")


def test_names_are_the_same_everywhere(cluster: CommandLine) -> None:
    """Short and full names resolve to the same private addresses on all nodes, the own ones included."""
    answer = cluster("cluster", "cmd", "t", "-f", "json", "--", "getent", "hosts", "t-worker-3", "worker-3")
    answers = {row["stdout"] for row in json.loads(answer.stdout)}

    assert 1 == len(answers)
    assert "127." not in answers.pop()


def test_every_pair_of_nodes_is_wired(cluster: CommandLine) -> None:
    """With --full-mesh, every node logs in to every other; the checks have the keys of the contract."""
    checks = json.loads(cluster("cluster", "verify", "t", "--full-mesh", "-f", "json").stdout)

    assert all(check["ok"] for check in checks)
    assert all(set(check) == CHECK_KEYS for check in checks)
    assert {"3 answer"} == {check["actual"] for check in checks if check["check"] == "ssh between nodes"}


def test_a_second_cluster_of_the_same_name_is_refused(cluster: CommandLine) -> None:
    """A name that is taken is exit 2, and the cluster stays as it is."""
    answer = cluster("cluster", "create", "t", expect=2)

    assert "already" in answer.stderr


def test_delete_leaves_nothing_but_history(cm: CommandLine) -> None:
    """After delete no process, mount, link, namespace or file of the cluster is left; deleting again is 0."""
    before = traces(cm.home)
    cm("cluster", "create", "gone", "-n", "1", timeout=600)
    cm("cluster", "delete", "gone", "-y")

    assert before == traces(cm.home)
    assert "gone" not in cm("cluster", "list").stdout
    assert "delete" in cm("cluster", "history", "gone").stdout
    cm("cluster", "delete", "gone", "-y")


def test_a_volume_is_a_folder_here(cm: CommandLine, tmp_path: Path) -> None:
    """Nodes of this machine have no volumes, which is said; where one would be mounted they have a folder."""
    volumes = "[{size: 5, mount: /data/big}, {size: 1}]"
    check = "{name: there, on: worker, file: /data/big, within: 2s}"
    profile = tmp_path / "p.yaml"
    profile.write_text(f"roles: {{worker: {{count: 1, volumes: {volumes}}}}}\nchecks: [{check}]\n")
    answer = cm("cluster", "create", "v", "-p", str(profile), timeout=600)
    cm("cluster", "delete", "v", "-y")

    assert "each mount is a folder" in answer.stderr


def test_a_failing_check_rolls_everything_back(cm: CommandLine) -> None:
    """A check that fails ends create with exit 1: evidence is kept, and nothing else."""
    profile = cm.home / "profiles.d" / "failing.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text(
        "name: failing\n"
        "roles: {worker: {count: 1}}\n"
        "checks:\n"
        "  - {name: never, on: worker, run: 'echo too bad; exit 7', within: 2s}\n"
    )
    before = traces(cm.home)
    answer = cm("cluster", "create", "bad", "-p", "failing", expect=1, timeout=600)

    assert "never" in answer.stderr
    assert "bad-worker-1" in answer.stderr
    assert before == traces(cm.home)
    assert "[]" == cm("cluster", "list", "-f", "json").stdout.strip()
    logs = list((cm.home / "clusters" / "bad" / "logs").glob("*/bad-worker-1.console.log"))
    assert 1 == len(logs)
    assert [logs[0].parents[1]] == list((cm.home / "clusters" / "bad").iterdir())
