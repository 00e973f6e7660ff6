"""The plugin `hadoop` on real nodes: what users do with it, and what becomes of it when nodes come, go and die.

The tutorial in `notebooks/` makes the cluster and deletes it; the tutorial in `docs/` is typed on it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import ROOT, CommandLine
from tests.support.notebooks import NOTEBOOKS, all_but_the_last_cell, assert_as_committed, kernel_environment
from tests.support.pages import section, typed_lines
from tests.support.typed import type_lines, with_cm_on_path

WILDCARDS = ("0.0.0.0:", "*:", "[::]:")
SHUFFLE_PORT = "13562"  # Hadoop has no setting for the address of its ShuffleHandler
# Runs on the master: kills the daemons of a worker, and prints after how many seconds each master misses them.
MISSED = """
import json, subprocess, time, urllib.request
subprocess.run(["ssh", "worker-2", "sudo pkill -KILL -u hadoop java"], check=True)
died, missed = time.monotonic(), {}
pages = {'"NumLiveDataNodes" : 1,': "9870/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState",
         '"activeNodes":1,': "8088/ws/v1/cluster/metrics"}
while len(missed) < 2 and time.monotonic() - died < 60:
    for words, page in pages.items():
        with urllib.request.urlopen(f"http://hadoop-master:{page}") as answer:
            if words in answer.read().decode():
                missed.setdefault(page, time.monotonic() - died)
    time.sleep(0.1)
print(json.dumps(missed))
"""
# What the user of the daemons runs, and any other Java.
PROCESSES = "ps -u hadoop -o pid=,stat=,args=; ps -C java -o pid=,stat=,args= || true"
# A container that nobody ends any more, as a NodeManager leaves it behind that is killed.
ORPHAN = (
    "sudo setpriv --reuid=hadoop --clear-groups setsid env CONTAINER_ID=container_1_1_01_000001"
    " sleep 600 </dev/null >/dev/null 2>&1 & sleep 0.5; sudo pkill -KILL -f [p]roc_nodemanager"
)
DAEMONS = {"master": {"namenode", "resourcemanager", "historyserver"}, "worker": {"datanode", "nodemanager"}}


@pytest.fixture(scope="module")
def notebook(cm_cache: Path) -> Iterator[tuple[CommandLine, Any, Callable[[], None]]]:
    """Return `cm` with a verified cluster of two workers, the notebook that made it, and what runs its last cell."""
    path = NOTEBOOKS / "02-hadoop-word-count.ipynb"
    with kernel_environment(cm_cache) as environ, all_but_the_last_cell(path, environ) as (ran, finish):
        yield CommandLine(Path(environ["CM_HOME"]), cm_cache), ran, finish


@pytest.fixture(scope="module")
def cluster(notebook: tuple[CommandLine, Any, Callable[[], None]]) -> CommandLine:
    """Return `cm` with the cluster."""
    return notebook[0]


@pytest.fixture
def running(cluster: CommandLine) -> CommandLine:
    """Return `cm` when Hadoop runs: a test before this one may have failed while it was down."""
    status = cluster("cluster", "status", "hadoop", "hadoop", "-f", "json", expect=None)
    if status.exit != 0 or not all(row["ok"] for row in json.loads(status.stdout)):
        cluster("cluster", "resume", "hadoop", expect=None, timeout=600)
        cluster("cluster", "start", "hadoop", "hadoop", timeout=600)
    return cluster


def on(cluster: CommandLine, node: str, line: str) -> str:
    """Return what a shell line prints on a node."""
    answer = cluster("cluster", "cmd", "hadoop", "-t", node, "-f", "json", "--", line)
    (row,) = json.loads(answer.stdout)
    return str(row["stdout"])


def live_datanodes(cluster: CommandLine) -> int:
    """Return how many DataNodes the NameNode takes for alive."""
    page = "http://hadoop-master:9870/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
    fetch = f'import urllib.request as u; print(u.urlopen("{page}").read().decode())'
    return int(json.loads(on(cluster, "master", f"python3 -c '{fetch}'"))["beans"][0]["NumLiveDataNodes"])


def test_the_login_user_has_the_usual_commands(cluster: CommandLine) -> None:
    """A file put on one node is read on another; jobs and nodes are listed; HDFS is administered without sudo."""
    on(cluster, "worker-2", "seq 1 100000 | hdfs dfs -put - numbers")

    assert on(cluster, "worker-1", "hdfs dfs -cat numbers | tail -n 1") == "100000\n"
    assert on(cluster, "master", "hadoop --loglevel ERROR fs -stat %r /user/cm/numbers") == "2\n"
    assert "word count" in on(cluster, "master", "yarn application -list -appStates FINISHED")
    on(cluster, "worker-1", "ls /opt/hadoop/share/hadoop/mapreduce/hadoop-mapreduce-examples-*.jar")
    streaming = on(cluster, "worker-1", "ls /opt/hadoop/share/hadoop/tools/lib/hadoop-streaming-*.jar").strip()
    assert "-mapper" in on(cluster, "worker-1", f"hadoop jar {streaming} -help 2>&1 || true")
    assert "hadoop-namenode" in on(cluster, "master", "sudo hdfs --daemon status namenode")
    assert "Total jobs:" in on(cluster, "worker-1", "mapred job -list all")
    assert "Live datanodes (2)" in on(cluster, "master", "hdfs dfsadmin -report")
    assert on(cluster, "worker-2", "hadoop version").startswith("Hadoop 3.4.")


def test_daemons_listen_on_private_addresses_only(cluster: CommandLine) -> None:
    """All but the one whose address can't be set."""
    for node in ("master", "worker-1"):
        listening = on(cluster, node, "sudo ss -Hltnp | grep java | awk '{print $4}'").split()
        assert listening
        open_to_all = [address for address in listening if address.startswith(WILDCARDS)]
        assert {address.rpartition(":")[2] for address in open_to_all} <= {SHUFFLE_PORT}


def test_heaps_and_limits_fit_the_declared_sizes(cluster: CommandLine) -> None:
    """A worker of 2 GiB gives YARN what its daemons leave, though it sees the memory of the whole machine."""
    offered = on(cluster, "worker-1", "hdfs getconf -confKey yarn.nodemanager.resource.memory-mb")
    heaps = on(cluster, "worker-1", "ps -C java -o args= | grep -o 'Xmx[0-9]*' | sort -u").split()

    assert 1024 <= int(offered) <= 2048
    assert heaps == ["Xmx102"]


def test_each_daemon_has_its_line_in_status(cluster: CommandLine) -> None:
    """And runs as user hadoop."""
    rows = json.loads(cluster("cluster", "status", "hadoop", "hadoop", "-f", "json").stdout)

    assert all(row["ok"] for row in rows)
    for row in rows:
        role = "master" if row["node"] == "hadoop-master" else "worker"
        assert all(f"hadoop-{daemon} running" in row["status"] for daemon in DAEMONS[role])
    assert set(on(cluster, "worker-1", "ps -C java -o user=").split()) == {"hadoop"}


def test_a_dead_worker_shows_within_ten_seconds_and_comes_back(cluster: CommandLine) -> None:
    """In HDFS and in YARN; `start` starts what is dead and leaves the rest alone."""
    master = on(cluster, "master", "sudo cm-service status hadoop-namenode")
    missed = json.loads(on(cluster, "master", shlex.join(["python3", "-c", MISSED])))
    assert len(missed) == 2
    assert max(missed.values()) <= 10, missed

    cluster("cluster", "start", "hadoop", "hadoop", timeout=600)
    assert on(cluster, "master", "sudo cm-service status hadoop-namenode") == master


def test_stopped_daemons_are_gone_and_started_ones_have_their_data(running: CommandLine) -> None:
    """Containers of a NodeManager that was killed go, too; HDFS leaves safe mode when its workers are back."""
    on(running, "worker-1", ORPHAN)
    assert "sleep 600" in on(running, "worker-1", PROCESSES)
    stopped = running("cluster", "stop", "hadoop", "hadoop", timeout=300)
    left = {node: on(running, node, PROCESSES) for node in ("master", "worker-1", "worker-2")}
    assert not any(left.values()), f"{left}\n{stopped}"
    running("cluster", "start", "hadoop", "hadoop", timeout=600)

    assert on(running, "worker-1", "hdfs dfs -cat numbers | tail -n 1") == "100000\n"


def test_blocks_move_before_their_node_goes(running: CommandLine) -> None:
    """A worker that comes is used, and one that goes is decommissioned: nothing is lost, nobody is missed."""
    running("cluster", "scale", "hadoop", "+1", timeout=600)
    assert live_datanodes(running) == 3
    on(running, "worker-3", "seq 1 50000 | hdfs dfs -D dfs.replication=1 -put - lonely")
    running("cluster", "scale", "hadoop", "-1", timeout=600)

    assert on(running, "worker-1", "hdfs dfs -cat lonely | tail -n 1") == "50000\n"
    report = on(running, "master", "hdfs dfsadmin -report")
    assert "Live datanodes (2)" in report
    assert "Dead datanodes" not in report
    assert "hadoop-worker-3" not in on(running, "master", "yarn node -list -all")


def test_uninstall_takes_everything_back(running: CommandLine) -> None:
    """No process, folder, command, service or user of it is left, and it can be installed again."""
    running("cluster", "uninstall", "hadoop", "hadoop", timeout=300)
    left = (
        "ls -d /opt/hadoop /etc/hadoop /var/lib/hadoop /var/log/hadoop /usr/local/bin/* /var/lib/cm/services/* "
        "/usr/local/lib/cm/plugins/hadoop /var/cache/cm/payloads/hadoop 2>/dev/null; ps -C java -o args=; id -u hadoop"
    )
    for node in ("master", "worker-1"):
        assert on(running, node, f"({left}) 2>/dev/null || true") == ""
    running("cluster", "install", "hadoop", "hadoop", timeout=600)


def test_tutorial_runs_as_written(running: CommandLine, cm: CommandLine, tmp_path: Path) -> None:
    """Every line but the two that the notebook runs, too, exits 0, and the words are counted right."""
    lines = [line for line in typed_lines(section(ROOT / "docs" / "tutorial.md", "Tutorial")) if line.startswith("cm ")]
    create, delete = lines.index("cm cluster create hadoop"), lines.index("cm cluster delete hadoop -y")

    type_lines(with_cm_on_path(cm, tmp_path / "before"), lines[:create])
    said = type_lines(with_cm_on_path(running, tmp_path / "after"), lines[create + 1 : delete] + lines[delete + 1 :])

    [counted] = [output for line, output in said.items() if "words/out/part-r" in line]
    words = (ROOT / "LICENSE").read_text(encoding="utf-8").split()
    top = [line.split("\t") for line in counted.splitlines()]
    assert len(top) == 5
    assert all(words.count(word) == int(count) for word, count in top)


def test_notebook_runs(notebook: tuple[CommandLine, Any, Callable[[], None]]) -> None:
    """Every cell succeeds and answers as when it was committed; the last one deletes the cluster."""
    cm, ran, finish = notebook
    finish()

    assert_as_committed(NOTEBOOKS / "02-hadoop-word-count.ipynb", ran)
    assert cm("cluster", "list", "-f", "json").stdout.strip() == "[]"
