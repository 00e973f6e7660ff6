"""One writer per cluster, one maker per file of the cache: flocks that the kernel releases when their holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudmesh_cluster.core.errors import ClusterBusy, LockHolder, NotFound, UsageError
from cloudmesh_cluster.core.events import now
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CLUSTER_NAME

LOOKS, A_LOOK = 10, 0.01  # how often the lock is tried, and seconds between


@contextmanager
def cluster_lock(home: Home, cluster: str, *, operation: str) -> Iterator[None]:
    """Hold the lock of a cluster, or say at once who holds it.

    Args:
        home: whose clusters.
        cluster: the cluster's name.
        operation: what the lock is for, shown to whoever comes second.

    Raises:
        ClusterBusy: another process holds the lock.
        UsageError: the lock's file can't be written.
        NotFound: no cluster can have this name, which would be a part of the lock's path.

    """
    if not CLUSTER_NAME.fullmatch(cluster):
        raise NotFound("cluster", cluster)
    home.make()
    file = home.lock_file(cluster)
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "set CM_HOME to a folder that you can write to"
        raise UsageError(f"the lock {file} can't be taken: {error.strerror}", hint=hint) from error
    try:
        if not _taken(descriptor):
            raise ClusterBusy(cluster, _read_holder(descriptor))
        holder = json.dumps({"pid": os.getpid(), "operation": operation, "since": now()})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    for _ in range(LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Whoever only looks at the lock (`lock_holder`) has it for a moment, too.
            time.sleep(A_LOOK)
        else:
            return True
    return False


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Wait for whoever makes the same thing, and be the only one that does."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lock_holder(home: Home, cluster: str) -> LockHolder | None:
    """Return who holds the lock of a cluster now, None when nobody does."""
    try:
        descriptor = os.open(home.lock_file(cluster), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Shared, so that two who look do not take each other for a holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _read_holder(descriptor: int) -> LockHolder | None:
    try:
        return LockHolder(**json.loads(os.pread(descriptor, 4096, 0)))
    except ValueError:
        # The holder has the lock but has not written its name yet.
        return None
