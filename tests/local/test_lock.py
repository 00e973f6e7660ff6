"""One operation at a time: the second one is told at once who is at work; the dead hold nothing."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.command_line import CommandLine
from tests.support.journal_watch import Instant, started

RUNNING = Instant("script runs", path="clusters/t/logs/*-write-*/t-worker-1.*.log")
SCRIPT = "echo began; sleep 60"
AT_ONCE = 10.0


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` of one worker."""
    shared_cm("cluster", "create", "t", "-n", "1", timeout=600)
    yield shared_cm


def test_a_busy_cluster_says_who_works_on_it(cluster: CommandLine) -> None:
    """While one operation runs, any other is exit 2 at once, with the process, since when and what; looking works."""
    with started(cluster, "cluster", "write", "t", "worker", SCRIPT) as running:
        running.wait_for(RUNNING)
        for words in (["scale", "t", "+1"], ["write", "t", "all", "true"], ["delete", "t", "-y"], ["verify", "t"]):
            began = time.monotonic()
            answer = cluster("cluster", *words, expect=2)
            assert f"write (process {running.process.pid}, since 2" in answer.stderr, answer
            assert time.monotonic() - began < AT_ONCE
        cluster("cluster", "create", "t", expect=2)
        cluster("cluster", "resume", "t", expect=2)

        assert "ready" == json.loads(cluster("cluster", "list", "-f", "json").stdout)[0]["state"]
        assert "t-worker-1" in cluster("cluster", "nodes", "t").stdout
        assert "running" in cluster("cluster", "history", "t").stdout
        assert "hello" in cluster("cluster", "cmd", "t", "-t", "master", "--", "echo", "hello").stdout
        running.send(signal.SIGINT)
        assert 130 == running.answer().exit
    cluster("cluster", "write", "t", "all", "true")


def test_the_lock_of_a_dead_process_falls_by_itself(cluster: CommandLine) -> None:
    """After kill -9 nothing has to be cleared by hand: the cluster is interrupted, not busy, and can be resumed."""
    with started(cluster, "cluster", "write", "t", "worker", "--timeout", "3s", SCRIPT) as running:
        running.wait_for(RUNNING)
        running.send(signal.SIGKILL)
        running.answer()
    answer = cluster("cluster", "write", "t", "all", "true", expect=2)
    assert "interrupted" in answer.stderr
    assert "busy" not in answer.stderr
    resumed = cluster("cluster", "resume", "t", expect=1)

    assert "timed out after 3 s" in resumed.stderr
    cluster("cluster", "write", "t", "all", "true")


def test_clusters_do_not_wait_for_each_other(cluster: CommandLine) -> None:
    """An operation on one cluster locks that cluster alone."""
    with started(cluster, "cluster", "write", "t", "worker", SCRIPT) as running:
        running.wait_for(RUNNING)
        cluster("cluster", "create", "other", "-n", "1")
        cluster("cluster", "delete", "other", "-y")
        running.send(signal.SIGINT)
        running.answer()
