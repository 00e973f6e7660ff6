"""Spark's schedulers and workers, real ones: the four steps, ends and new beginnings, maps, status."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster import multivariate, univariate
from cloudmesh_cluster.cluster_setup import spark
from cloudmesh_cluster.cluster_setup.service import Service
from cloudmesh_cluster.core.errors import CallFailed
from tests.conftest import refuse
from tests.support import unified_map as theirs
from tests.support.command_line import CommandLine
from tests.support.schedulers import any_address, interpreter, listens, nothing_left, serving, wait_for

ROUNDS = 3  # of two Javas each; five with Dask, where they cost a third
SMALL = {"SPARK_DAEMON_MEMORY": "256m"}
SLOW = 300.0  # seconds: Java starts slowly on a machine that is busy


@pytest.fixture(autouse=True, scope="module")
def java() -> None:
    """Skip all without Java or pyspark."""
    if shutil.which("java") is None:
        refuse("no java: run ./bootstrap.sh test")
    pytest.importorskip("pyspark") if os.environ.get("CI") != "true" else __import__("pyspark")


@pytest.fixture(autouse=True)
def own_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test no process of it is left."""
    monkeypatch.setenv("SPARK_DAEMON_MEMORY", SMALL["SPARK_DAEMON_MEMORY"])
    with nothing_left(f"{request.node.name}-{os.getpid()}"):
        yield


@pytest.fixture(scope="module")
def connected() -> Iterator[Service]:
    """A scheduler with one worker of two cores, to which this interpreter is connected; the handle of the worker."""
    with (
        spark.start_scheduler("127.0.0.1:0", background=True, environ=SMALL, timeout=SLOW) as scheduler,
        spark.start_worker(scheduler.address, "1GB", 2, background=True, environ=SMALL, timeout=SLOW) as worker,
    ):
        port = int(scheduler.dashboard.rpartition(":")[2])
        spark.connect_to_scheduler(scheduler.address, max_memory="512MiB", dashboard_port=port)
        yield worker
        spark.disconnect()


def square(x: int) -> int:
    """Return a square."""
    return x * x


def test_maps(connected: Service) -> None:
    """Order is kept, a failure names the argument with what was raised, and is not tried again."""
    assert univariate.distributed.spark(lambda x: x * x, iter(range(1000))) == [x * x for x in range(1000)]
    assert multivariate.distributed.spark(lambda x, y, z: x + y + z, [(1, 2, 3), (10, 20, 30)]) == [6, 60]
    assert univariate.distributed.spark(lambda x: x, []) == []
    with pytest.raises(CallFailed, match=r"argument 70 \(0\): ZeroDivisionError") as raised:
        univariate.distributed.spark(lambda x: 1 / x, [*range(1, 71), 0])
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_status(connected: Service) -> None:
    """Workers, cores, memory and settings are what was asked for; versions are the same everywhere here."""
    status = spark.report_status()
    [worker] = status.workers

    assert (worker.worker, worker.state, worker.cores) == (connected.name, "ALIVE", 2)
    assert worker.memory == 953 * 2**20
    assert status.settings["spark.executor.memory"] == "512m"
    assert status.tasks["applications"] == 1
    assert "spark.executor.memory" in str(status)
    assert "spark.executor.memory" not in str(spark.report_status(depth=1))
    assert spark.check_versions(timeout=SLOW) == ()


def test_errors(connected: Service) -> None:
    """In use, unreachable, bad addresses and options: each has its error at once."""
    with pytest.raises(ConnectionError, match="already in use"):
        spark.start_scheduler(connected.address)
    nobody = any_address()[0]
    for call in (spark.start_worker, spark.status_at):
        with pytest.raises(ConnectionError, match="no Spark scheduler answers"):
            call(nobody)
    with pytest.raises(ConnectionError, match="dashboard_port=PORT"):
        spark.status_at(connected.address, dashboard_port=1)
    with pytest.raises(ValueError, match="tcp:// is not possible here"):
        spark.start_worker("tcp://127.0.0.1:7077")
    with pytest.raises(ValueError, match="max_memory"):
        spark.start_worker(connected.address, "5 apples")


def test_one_interpreter_again_and_again() -> None:
    """Scheduler and worker with background=True stop, and can be started again at the same address at once."""
    address, port = any_address()
    for _ in range(ROUNDS):
        with (
            spark.start_scheduler(address, background=True, timeout=SLOW) as scheduler,
            spark.start_worker(address, "512MiB", 1, background=True, timeout=SLOW) as worker,
        ):
            found = spark.status_at(address, dashboard_port=int(scheduler.dashboard.rpartition(":")[2]))
            assert [w.worker for w in found.workers] == [worker.name]
        assert not (scheduler.running or worker.running or listens(port))


def test_four_steps_in_four_processes() -> None:
    """Each step in its process; Ctrl-C ends all, then SIGTERM the next ones at the same address; nothing is left."""
    address, port = any_address()
    [connect] = theirs.calls(r"cluster_setup\.spark\.connect_to_scheduler")
    client = (
        f"address = {address!r}; {connect}; "
        "from cloudmesh_cluster import univariate; print(univariate.distributed.spark(lambda x: x * x, [1, 2, 3]))"
    )
    for ending in (signal.SIGINT, signal.SIGTERM):
        with ExitStack() as stack:
            [code] = theirs.calls(r"cluster_setup\.spark\.start_scheduler")  # as the page has it
            scheduler = stack.enter_context(interpreter(f"address = {address!r}; {code}"))
            assert wait_for(lambda: listens(port), seconds=SLOW)
            [code] = theirs.calls(r"cluster_setup\.spark\.start_worker")
            worker = stack.enter_context(interpreter(f"address = {address!r}; {code}"))
            if ending == signal.SIGTERM:
                with interpreter(client) as connected:
                    assert connected.stdout is not None
                    assert connected.stdout.readline() == "[1, 4, 9]\n"
                    assert connected.wait(60) == 0
            else:
                assert wait_for(lambda: bool(_workers(address)), seconds=SLOW)
            for process in (worker, scheduler):
                process.send_signal(ending)
            assert [process.wait(60) for process in (worker, scheduler)] == [0, 0]
        assert not listens(port)


def _workers(address: str) -> tuple[object, ...]:
    try:
        return spark.status_at(address).workers
    except ConnectionError:  # it listens before its page is there
        return ()


def test_killed_interpreter_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `kill -9` of whoever started a scheduler and a worker, no Java of theirs is left, and no folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    address, port = any_address()
    code = (
        f"s = spark.start_scheduler({address!r}, background=True, timeout={SLOW}); "
        f"w = spark.start_worker({address!r}, background=True, timeout={SLOW}); print('up', flush=True); w.wait()"
    )
    with interpreter(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    assert wait_for(lambda: not listens(port) and not list(tmp_path.glob("cm-*")))


def test_shell_twins(cm: CommandLine) -> None:
    """`cm spark scheduler|worker|status`: the same in the shell; Ctrl-C is an ordinary end."""
    address, port = any_address()
    cm = replace(cm, environ=SMALL)
    with (
        serving(cm, "spark", "scheduler", address, "--timeout", "5m"),
        serving(cm, "spark", "worker", address, "--memory", "1GB", "--cores", "1", "--timeout", "5m"),
    ):
        [row] = json.loads(cm("spark", "status", address, "-f", "json").stdout)
        assert (row["state"], row["cores"], row["memory"]) == ("ALIVE", 1, 953 * 2**20)
    assert not listens(port)
    assert "no Spark scheduler answers" in cm("spark", "status", address, expect=1).stderr


def test_calls_of_unified_map(connected: Service) -> None:
    """The rows on Spark of the table in docs/cluster-setup.md, as they stand there."""
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(theirs)  # as if written right here: the workers don't have our tests
    for call in theirs.calls(r"\w+\.distributed\.spark"):
        assert eval(call, theirs.NAMES) == theirs.expected(call)  # noqa: S307  (a page of ours)
    [status] = theirs.calls(r"cluster_setup\.spark\.report_status")
    assert eval(status, {"spark": spark}).connected  # noqa: S307
