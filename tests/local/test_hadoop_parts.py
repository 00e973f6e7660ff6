"""The parts of `hadoop` alone on real nodes: HDFS without YARN, then YARN without HDFS on the same nodes."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.command_line import CommandLine

NODES = ("master", "worker-1")
# What the user of the daemons runs, and any other Java.
PROCESSES = "ps -u hadoop -o pid=,stat=,args=; ps -C java -o pid=,stat=,args= || true"
DAEMONS = "ps -C java -o args= | grep -o 'Dproc_[a-z]*' || true"


@pytest.fixture(scope="module")
def hdfs(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a verified cluster `p` of one worker that runs HDFS alone."""
    sizes = ("--set", "roles.master.memory=1G", "--set", "roles.worker.memory=1G")
    words = ("cluster", "create", "p", "-p", "hdfs", "--provider", "local", "-n", "1", *sizes)
    created = shared_cm(*words, timeout=900).stdout
    assert "file of one node read on another" in created
    assert "YARN" not in created
    assert "NodeManager" not in created
    yield shared_cm
    shared_cm("cluster", "delete", "p", "-y")


@pytest.fixture(scope="module")
def yarn(hdfs: CommandLine) -> CommandLine:
    """Return `cm` with YARN in the place of HDFS, which fetches nothing anew."""
    hdfs("cluster", "uninstall", "p", "hdfs", timeout=300)
    installed = hdfs("cluster", "install", "p", "yarn", timeout=600)
    assert "from Maven" not in installed.stdout + installed.stderr
    assert "containers ran on p-worker-1" in installed.stdout
    return hdfs


def on(cluster: CommandLine, node: str, line: str) -> str:
    """Return what a shell line prints on a node."""
    answer = cluster("cluster", "cmd", "p", "-t", node, "-f", "json", "--", line)
    (row,) = json.loads(answer.stdout)
    return str(row["stdout"])


def running(cluster: CommandLine) -> dict[str, str]:
    """Return what the status of the cluster says of each node, without the numbers of processes."""
    rows = json.loads(cluster("cluster", "status", "p", "-f", "json").stdout)
    return {row["node"]: f"{row['plugin']}: {row['status'].partition(' (')[0]}" for row in rows}


def pages(cluster: CommandLine, plugin: str) -> dict[str, str]:
    """Return the pages of a plugin by name, as they come through the tunnels of `cm cluster open`."""
    words = cluster.argv("cluster", "open", "p", plugin, "--no-browser", "-f", "json")
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=cluster.environment()
    )
    assert process.stdout is not None
    text = ""
    while not text.endswith("]\n"):
        line = process.stdout.readline()
        assert line, f"it ended with {process.wait()} after {text!r}"
        text += line
    found = {}
    for row in json.loads(text):
        with urllib.request.urlopen(row["address"], timeout=60) as answer:  # noqa: S310  (what cm printed)
            found[row["name"]] = str(answer.read().decode())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    return found


def test_hdfs_runs_without_yarn(hdfs: CommandLine) -> None:
    """No daemon, command or configuration of YARN is there."""
    assert running(hdfs) == {"p-master": "hdfs: hadoop-namenode running", "p-worker-1": "hdfs: hadoop-datanode running"}
    assert [on(hdfs, node, DAEMONS) for node in NODES] == ["Dproc_namenode\n", "Dproc_datanode\n"]
    found = on(hdfs, "master", "ls /etc/hadoop /usr/local/bin")
    assert "hdfs-site.xml" in found
    assert "yarn" not in found
    assert list(pages(hdfs, "hdfs")) == ["hdfs"]


def test_files_outlast_a_stop(hdfs: CommandLine) -> None:
    """What was stopped is gone, and what is started has what was written on the other node."""
    on(hdfs, "worker-1", "seq 1 1000 | hdfs dfs -put - numbers")
    stopped = hdfs("cluster", "stop", "p", "hdfs", timeout=300)
    left = [on(hdfs, node, PROCESSES) for node in NODES]
    assert not any(left), f"{left}\n{stopped}"
    hdfs("cluster", "start", "p", "hdfs", timeout=600)

    assert on(hdfs, "master", "hdfs dfs -cat numbers | tail -n 1") == "1000\n"


def test_the_other_part_needs_the_whole(hdfs: CommandLine) -> None:
    """Both on one cluster are refused with the name of the plugin that has both, and nothing is touched."""
    refused = hdfs("cluster", "install", "p", "yarn", expect=2)

    assert "plugins hdfs and yarn: are parts of hadoop" in refused.stderr
    assert set(running(hdfs)) == {"p-master", "p-worker-1"}


def test_yarn_runs_without_hdfs(yarn: CommandLine) -> None:
    """Nothing of HDFS is left or there again; containers run, and YARN's page is opened."""
    assert running(yarn) == {
        "p-master": "yarn: hadoop-resourcemanager running",
        "p-worker-1": "yarn: hadoop-nodemanager running",
    }
    assert [on(yarn, node, DAEMONS) for node in NODES] == ["Dproc_resourcemanager\n", "Dproc_nodemanager\n"]
    assert "hdfs" not in on(yarn, "worker-1", "ls /etc/hadoop /usr/local/bin /var/lib/cm/services")
    assert "RUNNING" in on(yarn, "worker-1", "yarn node -list")
    assert "SUCCEEDED" in on(yarn, "master", "yarn application -list -appStates FINISHED")
    assert "All Applications" in pages(yarn, "yarn")["yarn"]


def test_a_container_does_not_outlast_its_plugin(yarn: CommandLine) -> None:
    """`uninstall` stops what runs in containers, and leaves nothing."""
    begun = "timeout 20 bash -c 'until ps -u hadoop -o args= | grep -q [s]leep; do sleep 0.1; done'"
    environment = "CM_CLUSTER=p CM_ROLE=master CM_NODE=p-master CM_MASTER=p-master CM_WORKERS=p-worker-1"
    script = "/usr/local/lib/cm/plugins/yarn/checks/containers.sh"
    on(yarn, "master", f"sudo env {environment} setsid {script} >/dev/null 2>&1 </dev/null &")
    on(yarn, "worker-1", begun)
    yarn("cluster", "uninstall", "p", "yarn", timeout=300)

    files = "ls -d /opt/hadoop /etc/hadoop /var/lib/hadoop /var/log/hadoop /usr/local/lib/cm/plugins/yarn 2>/dev/null"
    assert [on(yarn, node, f"{PROCESSES}; {files} || true") for node in NODES] == ["", ""]
