"""The plugin `spark` on real nodes: what users do with it, and what becomes of it when nodes come, go and die."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.crash import crash

PATIENCE = 240.0
# A job whose tasks take their time; says when both hosts work on it, and what came out.
LONG = """
import time
from pyspark.sql import SparkSession
def slow(number):
    time.sleep(0.5)
    return number
session = SparkSession.builder.getOrCreate()
numbers = session.sparkContext.parallelize(range(24), 24)
while session.sparkContext._jsc.sc().getExecutorMemoryStatus().size() < 3:
    time.sleep(0.1)
print("begun", flush=True)
print(numbers.map(slow).sum(), flush=True)
"""
# In a process of its own: pyspark, once it has used Connect, makes no other session in a process.
FUNCTION = """
from cloudmesh_cluster import Cluster
from pyspark.sql.functions import udf
session = Cluster.open("p").spark()
rows = session.range(3).select(udf(lambda number: number * 7, "long")("id").alias("seven")).collect()
print(sorted(row["seven"] for row in rows))
session.stop()
"""
SUBMIT = "spark-submit --conf spark.ui.enabled=false --conf spark.executor.memory=512m"


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a verified Spark cluster `p` of two workers."""
    shared_cm("cluster", "create", "p", "-p", "spark", "--provider", "local", timeout=900)
    yield shared_cm
    shared_cm("cluster", "delete", "p", "-y")


def on(cluster: CommandLine, node: str, line: str) -> str:
    """Return what a shell line prints on a node."""
    (row,) = json.loads(cluster("cluster", "cmd", "p", "-t", node, "-f", "json", "--", line).stdout)
    return str(row["stdout"])


def master_page(cluster: CommandLine) -> dict[str, Any]:
    """Return what Spark's master says of itself."""
    fetch = 'import urllib.request as u; print(u.urlopen("http://p-master:8080/json/").read().decode())'
    page: dict[str, Any] = json.loads(on(cluster, "master", f"python3 -c {shlex.quote(fetch)}"))
    return page


def alive(cluster: CommandLine) -> list[str]:
    """Return the hosts of the workers that Spark's master takes for alive."""
    return sorted(worker["host"] for worker in master_page(cluster)["workers"] if worker["state"] == "ALIVE")


def test_the_login_user_submits_from_any_node(cluster: CommandLine) -> None:
    """One of Spark's own examples, run from a worker by the system's Python alone, computes on the cluster."""
    said = on(cluster, "worker-1", "python3 /opt/spark/examples/src/main/python/pi.py 4 2>/dev/null")

    assert said.startswith("Pi is roughly 3.1")
    assert "PythonPi" in {app["name"] for app in master_page(cluster)["completedapps"]}


def test_settings_that_travel_with_a_job_are_no_nodes_own(cluster: CommandLine) -> None:
    """A driver may run on any node: its settings are the same on all."""
    said = cluster("cluster", "cmd", "p", "-f", "json", "--", "cat /etc/spark/spark-defaults.conf").stdout
    answers = json.loads(said)

    assert 1 == len({answer["stdout"] for answer in answers})
    assert "10.88." not in answers[0]["stdout"]


def test_functions_of_the_user_run_over_connect(cluster: CommandLine) -> None:
    """A plain Python function works from this machine, where the workers have nothing but Spark."""
    said = subprocess.run(
        [cluster.python, "-c", FUNCTION], env=cluster.environment(), capture_output=True, text=True, check=False
    )

    assert "[0, 7, 14]\n" == said.stdout, said.stderr


def test_daemons_are_private_and_of_their_own_user(cluster: CommandLine) -> None:
    """Nothing listens on all addresses."""
    for node in ("master", "worker-1"):
        listening = on(cluster, node, "sudo ss -Hltnp | grep java | awk '{print $4}'").split()
        assert listening
        assert all(address.removeprefix("[::ffff:").startswith("10.") for address in listening), listening
        assert set(on(cluster, node, "ps -C java -o user=").split()) == {"spark"}


def test_a_dead_worker_is_missed_the_job_ends_right_and_a_new_one_comes(cluster: CommandLine) -> None:
    """A node is killed during a job: the other one does its tasks; `status` says so; `replace` restores it."""
    on(cluster, "master", f"cat >/tmp/long.py <<'END'\n{LONG}\nEND")
    argv = cluster.argv("cluster", "ssh", "p", "--", f"{SUBMIT} /tmp/long.py 2>/dev/null")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=cluster.environment()) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        killed = time.monotonic()
        crash(cluster, "p", "p-worker-2")
        rows = json.loads(cluster("cluster", "status", "p", "-f", "json", expect=3).stdout)
        assert {row["node"] for row in rows if not row["ok"]} == {"p-worker-2"}
        while (present := alive(cluster)) != ["p-worker-1"]:
            assert time.monotonic() - killed < PATIENCE, present
        assert job.stdout.readline() == f"{sum(range(24))}\n"
        assert job.wait(PATIENCE) == 0

    cluster("cluster", "replace", "p", "worker-2", timeout=600)
    cluster("cluster", "status", "p")
    assert alive(cluster) == ["p-worker-1", "p-worker-2"]


def test_uninstall_takes_everything_back(cluster: CommandLine) -> None:
    """No process, folder, command, service or user of it is left."""
    cluster("cluster", "uninstall", "p", "spark", timeout=300)
    gone = "ls -d /opt/spark /etc/spark /var/lib/spark /usr/local/bin/*spark* /var/lib/cm/services/*"
    for node in ("master", "worker-1"):
        assert on(cluster, node, f"({gone}; ps -C java -o args=; id -u spark) 2>/dev/null || true") == ""
