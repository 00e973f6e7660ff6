"""The plugin `dask` on real nodes: what users do with it, and what becomes of it when nodes come, go and die."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from cloudmesh_cluster import Cluster
from cloudmesh_cluster.core.home import Home
from tests.support.command_line import CommandLine
from tests.support.crash import crash

PYTHON = "/opt/dask/bin/python"
WORKERS = """
from distributed import Client
with Client(timeout="20s") as client:
    print(*sorted(worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()))
"""
# Forty tasks of half a second; says when it has begun, and what came out.
LONG = """
import time
from distributed import Client
def slow(number):
    time.sleep(0.5)
    return number
with Client(timeout="20s") as client:
    futures = client.map(slow, range(40), pure=False)
    print("begun", flush=True)
    print(sum(client.gather(futures)), flush=True)
"""
PATIENCE = 120.0


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a verified Dask cluster `k` of two workers, who talk TLS."""
    shared_cm("cluster", "create", "k", "-p", "dask", "--provider", "local", timeout=900)
    yield shared_cm
    shared_cm("cluster", "delete", "k", "-y")


def on(cluster: CommandLine, node: str, *words: str) -> str:
    """Return what a command prints on a node."""
    (row,) = json.loads(cluster("cluster", "cmd", "k", "-t", node, "-f", "json", "--", *words).stdout)
    return str(row["stdout"])


def test_daemons_are_private_and_of_their_own_user(cluster: CommandLine) -> None:
    """Nothing listens on all addresses, nothing runs as root; memory and threads are the profile's; there is a pip."""
    for node in ("master", "worker-1"):
        listening = on(cluster, node, "sudo ss -Hltnp | grep python | awk '{print $4}'").split()
        assert listening
        assert all(address.startswith("10.") for address in listening), listening
        assert set(on(cluster, node, "pgrep -f 'dask (scheduler|worker)' | xargs ps -o user= -p").split()) == {"dask"}
    assert on(cluster, "worker-1", PYTHON, "-m", "pip", "--version").startswith("pip ")
    said = on(cluster, "worker-1", "ps -C python -o args= | grep 'dask worker' | head -n 1")
    assert "--nthreads 1 " in said
    assert "--memory-limit 1600MiB" in said


def test_only_who_has_a_certificate_of_the_cluster_is_let_in(cluster: CommandLine) -> None:
    """On a node nobody without one; from here the client of `Cluster.dask()`, through a tunnel."""
    plain = "from distributed import Client; Client('tcp://k-master:8786', timeout='5s')"
    refused = f"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=False {PYTHON} -c {shlex.quote(plain)} 2>&1 || echo refused"
    assert on(cluster, "worker-1", refused).endswith("refused\n")
    assert on(cluster, "worker-1", "sudo stat -c '%a %U:%G' /etc/dask/tls/key.pem") == "640 root:dask\n"

    with Cluster.open("k", home=Home(cluster.home, cluster.cache)).dask() as client:
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert set(client.run(socket.gethostname).values()) == {"k-worker-1", "k-worker-2"}


def test_a_dead_worker_is_missed_its_tasks_are_done_and_a_new_one_comes(cluster: CommandLine) -> None:
    """A node is killed during a computation: the rest finishes it; `status` says so at once; `replace` restores it."""
    argv = cluster.argv("cluster", "ssh", "k", "--", shlex.join([PYTHON, "-c", LONG]))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=cluster.environment()) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        killed = time.monotonic()
        crash(cluster, "k", "k-worker-2")
        rows = json.loads(cluster("cluster", "status", "k", "-f", "json", expect=3).stdout)
        assert {row["node"] for row in rows if not row["ok"]} == {"k-worker-2"}
        while (present := on(cluster, "master", PYTHON, "-c", WORKERS).split()) != ["k-worker-1"]:
            assert time.monotonic() - killed < PATIENCE, present
        assert job.stdout.readline() == f"{sum(range(40))}\n"
        assert job.wait(PATIENCE) == 0

    cluster("cluster", "replace", "k", "worker-2", timeout=600)
    cluster("cluster", "status", "k")
    assert on(cluster, "master", PYTHON, "-c", WORKERS).split() == ["k-worker-1", "k-worker-2"]


def test_a_cluster_whose_daemon_was_stopped_is_unhealthy(cluster: CommandLine) -> None:
    """After a verify that failed nothing says `ready`, until a verify passes; the cluster can be used and mended."""
    cluster("cluster", "cmd", "k", "-t", "worker-1", "--", "sudo", "cm-service", "stop", "dask-worker")
    failed = json.loads(cluster("cluster", "verify", "k", "--now", "-f", "json", expect=3).stdout)
    bad = [row for row in failed if not row["ok"]]
    found = Cluster.open("k", home=Home(cluster.home, cluster.cache))

    shown = json.loads(cluster("cluster", "show", "k", "-f", "json").stdout)
    assert (shown["state"], shown["checks"], shown["failed_checks"]) == ("unhealthy", len(failed), len(bad))
    assert f"unhealthy: {len(bad)} of {len(failed)} checks failed" in cluster("cluster", "list").stdout
    (*_, row) = json.loads(cluster("cluster", "history", "k", "-f", "json").stdout)
    assert (row["kind"], row["state"]) == ("verify", "failed")
    assert row["began_at"] < shown["verified"] <= row["ended_at"]
    assert row["error"].startswith(f"{len(bad)} of {len(failed)} checks failed")
    assert found.state == "unhealthy"
    assert found.verdict is not None
    assert "unhealthy" in repr(found)
    assert found.verdict.failed == len(bad)
    assert on(cluster, "master", "echo", "usable") == "usable\n"

    cluster("cluster", "start", "k", timeout=300)
    assert cluster("cluster", "show", "k", "-f", "value", "-c", "state", "-c", "failed_checks").stdout == "ready\n0\n"
    cluster("cluster", "stop", "k", "dask", timeout=300)
    assert found.state == "degraded"
    cluster("cluster", "start", "k", "dask", timeout=300)
    assert found.state == "ready"


def test_a_growth_that_meets_a_stopped_daemon_leaves_an_unhealthy_cluster(cluster: CommandLine) -> None:
    """When the checks of a growth fail it is undone, and the cluster is what the checks find without it."""
    cluster("cluster", "cmd", "k", "-t", "worker-1", "--", "sudo", "cm-service", "stop", "dask-worker")
    answer = cluster("cluster", "scale", "k", "+1", expect=1, timeout=600)
    assert "dask-worker has ended on k-worker-1" in answer.stderr
    state = ("cluster", "show", "k", "-f", "value", "-c", "state", "-c", "nodes")
    assert cluster(*state).stdout == "unhealthy\n3\n"
    cluster("cluster", "start", "k", timeout=300)
    assert cluster(*state).stdout == "ready\n3\n"


def test_a_leaving_worker_hands_over_what_it_holds(cluster: CommandLine) -> None:
    """A value that only one worker has is there when this worker is gone."""
    cluster("cluster", "scale", "k", "+1", timeout=600)
    put = 'c.publish_dataset(kept=c.submit(str.upper, "kept", workers=["k-worker-3"], allow_other_workers=True))'
    get = 'print(c.get_dataset("kept").result(timeout=60))'
    program = "from distributed import Client as C\nwith C(timeout='20s') as c: "
    on(cluster, "master", PYTHON, "-c", program + put)
    on(cluster, "master", PYTHON, "-c", program + get)  # it is there
    cluster("cluster", "scale", "k", "-1", timeout=600)

    assert on(cluster, "worker-1", PYTHON, "-c", program + get) == "KEPT\n"
    assert on(cluster, "master", PYTHON, "-c", WORKERS).split() == ["k-worker-1", "k-worker-2"]


def test_a_stopped_cluster_starts_with_its_daemons(cluster: CommandLine) -> None:
    """Stop and start of the whole cluster brings back scheduler and workers."""
    cluster("cluster", "stop", "k", timeout=300)
    cluster("cluster", "start", "k", timeout=300)
    assert on(cluster, "master", PYTHON, "-c", WORKERS).split() == ["k-worker-1", "k-worker-2"]


def test_uninstall_takes_everything_back(cluster: CommandLine) -> None:
    """No process, folder, command, service or user of it is left."""
    cluster("cluster", "uninstall", "k", "dask", timeout=300)
    gone = "ls -d /opt/dask /etc/dask /var/lib/dask /usr/local/bin/dask /var/lib/cm/services/*"
    for node in ("master", "worker-1"):
        assert on(cluster, node, f"({gone}; pgrep -f '[d]ask (sched|work)'; id -u dask) 2>/dev/null || true") == ""
