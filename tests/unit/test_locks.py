"""The lock of a cluster: one holder, who is named; none after its death; looking disturbs nobody."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import ClusterBusy, NotFound
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.state.locks import cluster_lock, lock_holder

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def own_home(tmp_path: Path) -> Home:
    """Return an empty home."""
    return Home(tmp_path / "home", tmp_path / "cache")


def hold(home: Home, ready: Connection) -> None:
    """Hold the lock of `t` until killed."""
    with cluster_lock(home, "t", operation="scale"):
        ready.send("held")
        time.sleep(60)


@contextmanager
def held_elsewhere(home: Home) -> Iterator[int]:
    """Yield the id of another process that holds the lock of `t`; it is dead afterwards."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=hold, args=(home, there))
    process.start()
    assert "held" == here.recv()
    assert process.pid is not None
    try:
        yield process.pid
    finally:
        process.kill()
        process.join()


def test_a_second_holder_is_told_of_the_first(own_home: Home) -> None:
    """Who comes second is refused at once and told process, operation and since when."""
    with held_elsewhere(own_home) as pid:
        began = time.monotonic()
        with pytest.raises(ClusterBusy) as busy, cluster_lock(own_home, "t", operation="write"):
            pytest.fail("two processes hold one lock")

    assert time.monotonic() - began < 1
    holder = busy.value.holder
    assert holder is not None
    assert (pid, "scale") == (holder.pid, holder.operation)
    assert f"scale (process {pid}, since {holder.since})" in str(busy.value)
    assert 2 == busy.value.exit_code


def test_a_dead_holder_holds_nothing(own_home: Home) -> None:
    """The kernel releases the lock of a process that was killed; nobody is named as its holder."""
    with held_elsewhere(own_home) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert lock_holder(own_home, "t") is None
        with cluster_lock(own_home, "t", operation="write"):
            holder = lock_holder(own_home, "t")
            assert holder is not None
            assert (os.getpid(), "write") == (holder.pid, holder.operation)


def test_the_lock_falls_when_the_work_fails(own_home: Home) -> None:
    """An error inside releases the lock."""
    with pytest.raises(ZeroDivisionError), cluster_lock(own_home, "t", operation="write"):
        raise ZeroDivisionError

    assert lock_holder(own_home, "t") is None


def test_clusters_have_locks_of_their_own(own_home: Home) -> None:
    """A lock says nothing about another cluster; a cluster never locked has no holder."""
    with held_elsewhere(own_home), cluster_lock(own_home, "other", operation="write"):
        assert lock_holder(own_home, "never") is None
        assert lock_holder(own_home, "t") is not None


def test_looking_never_looks_like_holding(own_home: Home) -> None:
    """However often others look at the lock, it can be taken at any time, and no looker is taken for a holder."""
    with cluster_lock(own_home, "t", operation="first"):
        pass
    found, over = [], threading.Event()

    def look() -> None:
        while not over.is_set():
            holder = lock_holder(own_home, "t")
            if holder is None or holder.operation != "again":
                found.append(holder)
            time.sleep(0.001)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(50):
            with cluster_lock(own_home, "t", operation="again"):
                pass
    finally:
        over.set()
        for looker in lookers:
            looker.join()
    assert {None} == set(found)


@pytest.mark.parametrize("name", ["../t", "", "a/b", "A", "t" * 31])
def test_what_is_no_name_has_no_lock(own_home: Home, name: str) -> None:
    """A word that can't be a cluster's name never becomes a path."""
    with pytest.raises(NotFound), cluster_lock(own_home, name, operation="write"):
        pytest.fail("it was locked")

    assert not own_home.locks.exists()
