"""Dask's schedulers and workers, real ones: the seed page's four steps, and all that may go wrong with them."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cloudmesh_cluster import multivariate, univariate
from cloudmesh_cluster.cluster_setup import dask
from cloudmesh_cluster.cluster_setup.dask import Certificates
from cloudmesh_cluster.cluster_setup.service import Service
from cloudmesh_cluster.core.errors import CallFailed
from tests.conftest import refuse
from tests.support import unified_map as theirs
from tests.support.command_line import CommandLine
from tests.support.schedulers import MARK, any_address, interpreter, listens, nothing_left, serving, wait_for

ROUNDS = 5


@pytest.fixture(autouse=True)
def own_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test no process of it is left, and no connection."""
    pytest.importorskip("distributed") if os.environ.get("CI") != "true" else __import__("distributed")
    with nothing_left(f"{request.node.name}-{os.getpid()}"):
        yield
        dask.disconnect()


def square(x: int) -> int:
    """Return a square."""
    return x * x


def test_four_steps_in_four_processes_five_times() -> None:
    """Scheduler, workers, connection, status, each in its process; ended by Ctrl-C and SIGTERM by turns; then again."""
    address, port = any_address()
    for turn in range(ROUNDS):
        ending = (signal.SIGINT, signal.SIGTERM)[turn % 2]
        with ExitStack() as stack:
            scheduler = stack.enter_context(interpreter(f"print(dask.start_scheduler({address!r}))"))
            assert wait_for(lambda: listens(port))
            workers = [stack.enter_context(interpreter(f"dask.start_worker({address!r})")) for _ in range(2)]
            dask.connect_to_scheduler(address, timeout=60)
            assert wait_for(lambda: len(dask.report_status().workers) == 2)
            assert univariate.distributed.dask(square, range(100)) == [x * x for x in range(100)]
            assert dask.check_versions() == ()
            dask.disconnect()
            for process in (*workers, scheduler):
                process.send_signal(ending)
            assert [process.wait(60) for process in (*workers, scheduler)] == [0, 0, 0]
            assert "stopped" in (scheduler.stdout.read() if scheduler.stdout else "")
        assert not listens(port)


def test_one_interpreter_five_times() -> None:
    """The same in one interpreter with background=True: handles stop, and the address is free again at once."""
    address, port = any_address()
    for _ in range(ROUNDS):
        with dask.start_scheduler(address, background=True, dashboard_port=None) as scheduler:
            with dask.start_worker(address, background=True) as worker:
                dask.connect_to_scheduler(address)
                assert [found.worker for found in dask.report_status().workers] == [worker.name]
                assert univariate.distributed.dask(square, [3]) == [9]
                dask.disconnect()
            assert not worker.running
        assert not scheduler.running
        assert not listens(port)


def test_blocking_call_returns_and_can_be_made_again() -> None:
    """In one interpreter: Ctrl-C ends the blocking call, then SIGTERM the next one, and the program goes on."""
    address, port = any_address()
    code = f"for _ in range(2): dask.start_scheduler({address!r}, dashboard_port=None); print('ended', flush=True)"
    with interpreter(code) as process:
        assert process.stdout is not None
        for ending in (signal.SIGINT, signal.SIGTERM):
            assert wait_for(lambda: listens(port))
            # It listens a little before it serves, and only a call that blocks takes SIGTERM for a request.
            with dask.start_worker(address, background=True, dashboard_port=None):
                process.send_signal(ending)
                assert process.stdout.readline() == "ended\n"
        assert process.wait(60) == 0


def test_killed_interpreter_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `kill -9` of whoever started scheduler and nanny, all of their processes end, and their folders go."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    address, port = any_address()
    code = (
        f"s = dask.start_scheduler({address!r}, background=True); "
        f"w = dask.start_worker({address!r}, nanny=True, background=True); print('up', flush=True); w.wait()"
    )
    with interpreter(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    assert wait_for(lambda: not listens(port) and not list(tmp_path.glob("cm-*")))


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Service]:
    """A scheduler for the tests that only look."""
    with dask.start_scheduler("127.0.0.1:0", background=True) as started:
        yield started


def test_port_0(scheduler: Service) -> None:
    """The handle knows which port it is, and where the dashboard is."""
    assert scheduler.address.startswith("tcp://127.0.0.1:")
    assert not scheduler.address.endswith(":0")
    assert scheduler.dashboard.startswith("http://127.0.0.1:")


def test_errors(scheduler: Service, tmp_path: Path) -> None:
    """In use, unreachable, no Dask at all, bad options: each has its error, at once and with what to do."""
    with pytest.raises(ConnectionError, match="already in use"):
        dask.start_scheduler(scheduler.address)
    nobody = any_address()[0]
    for call in (dask.start_worker, dask.connect_to_scheduler, dask.status_at):
        with pytest.raises(ConnectionError, match="no Dask scheduler answers") as raised:
            call(nobody)
        assert "did you start it" in raised.value.__notes__[0]
    with pytest.raises(ConnectionError, match="no Dask scheduler answers"):
        dask.connect_to_scheduler(scheduler.dashboard.removeprefix("http://").removesuffix("/status"), timeout=3)
    options: list[dict[str, Any]] = [{"max_memory": "5 apples"}, {"max_memory": -1}, {"num_cores": 0}, {"port": 70000}]
    for wrong in options:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            dask.start_worker(scheduler.address, **wrong)
    with pytest.raises(ValueError, match="needs certificates"):
        dask.start_scheduler("tls://127.0.0.1:0")
    with pytest.raises(ValueError, match="can't be read"):
        dask.start_scheduler("tls://127.0.0.1:0", tls=Certificates(tmp_path / "a", tmp_path / "b", tmp_path / "c"))


def test_options_of_workers(scheduler: Service, tmp_path: Path) -> None:
    """Name, cores, memory, folder, resources and nanny are what the scheduler then says of the worker."""
    client = dask.connect_to_scheduler(scheduler.address)
    with dask.start_worker(
        scheduler.address, "1GB", 3, nanny=True, name="one", local_directory=tmp_path, resources={"GPU": 2},
        background=True,
    ):  # fmt: skip
        [worker] = dask.report_status().workers
        [known] = client.scheduler_info()["workers"].values()
        assert (worker.worker, worker.cores, worker.memory, worker.host) == ("one", 3, 10**9, "127.0.0.1")
        assert (known["resources"], bool(known["nanny"])) == ({"GPU": 2.0}, True)
        assert known["local_directory"].startswith(str(tmp_path))
        assert set(listening_hosts()) <= {"127.0.0.1"}
    with dask.start_worker(scheduler.address, 0, name="two", background=True):
        assert [(w.worker, w.memory) for w in dask.report_status().workers] == [("two", 0)]


def listening_hosts() -> list[str]:
    """Return the addresses on which the processes of this test listen."""
    said = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    mark = f"{MARK}={os.environ[MARK]}".encode()
    ours = [p.parent.name for p in Path("/proc").glob("[0-9]*/environ") if mark in _read(p)]
    return [line.split()[3].rpartition(":")[0] for line in said if any(f"pid={pid}," in line for pid in ours)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_node_that_differs_is_named(scheduler: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version check says which node has what, and what is here."""
    (tmp_path / "lz4-0.0.1.dist-info").mkdir()
    (tmp_path / "lz4-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lz4\nVersion: 0.0.1\n")
    dask.connect_to_scheduler(scheduler.address)
    with monkeypatch.context() as changed:
        changed.setenv("PYTHONPATH", str(tmp_path))
        other = dask.start_worker(scheduler.address, name="other", background=True)
    with other, dask.start_worker(scheduler.address, name="same", background=True):
        differences = dask.check_versions()

        assert {(found.node, found.package, found.there) for found in differences} == {("other", "lz4", "0.0.1")}
        assert "other has lz4 0.0.1" in str(dask.report_status())


def test_maps(scheduler: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order is kept, failures name the argument, nothing in an argument means anything to Dask, and nothing hangs."""
    client = dask.connect_to_scheduler(scheduler.address)
    odd: list[tuple[Any, Any]] = [("cm-map-0", {"x": 1}), ((len, "abc"), [1, [2]]), (client.id, None)]
    with dask.start_worker(scheduler.address, num_cores=2, background=True):
        client.run(_forget_this_package)
        assert univariate.distributed.dask(lambda x: x * x, iter(range(1000))) == [x * x for x in range(1000)]
        assert multivariate.distributed.dask(lambda x, y: (x, y), odd) == odd
        assert univariate.distributed.dask(square, []) == []
        with pytest.raises(CallFailed, match=r"argument 700 \(0\): ZeroDivisionError") as raised:
            univariate.distributed.dask(lambda x: 1 / x, [*range(1, 701), 0])
        assert isinstance(raised.value.__cause__, ZeroDivisionError)
        (tmp_path / "only_here.py").write_text("def same(x): return x\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ImportError, match="only_here"):
            univariate.distributed.dask(importlib.import_module("only_here").same, [1])


def _forget_this_package() -> None:
    import sys

    sys.modules["cloudmesh_cluster"] = None  # type: ignore[assignment]  # as on nodes that don't have it


def test_failures_keep_their_class_and_their_argument(scheduler: Service) -> None:
    """A class of the user's script comes back as itself; a call that exits names its argument and ends no worker."""
    code = f"""
import sys
from cloudmesh_cluster import univariate
from cloudmesh_cluster.core.errors import CallFailed
class Mine(Exception): pass
def fail(x):
    if x == 1: raise Mine("no good")
    if x == 2: sys.exit("bad input")
    return x
with dask.start_worker({scheduler.address!r}, num_cores=1, background=True):
    dask.connect_to_scheduler({scheduler.address!r})
    for arguments in ([0, 1], [0, 2]):
        try:
            univariate.distributed.dask(fail, arguments)
        except CallFailed as failed:
            print(failed.index, type(failed.__cause__) in (Mine, SystemExit), failed.__cause__)
    print(univariate.distributed.dask(fail, [3]))
    dask.disconnect()
"""
    with interpreter(code) as process:
        said, _ = process.communicate(timeout=120)

    assert said.splitlines() == ["1 True no good", "1 True bad input", "[3]"]


def test_scheduler_that_ends_during_a_map() -> None:
    """A map and a status say that the connection is lost, and connecting to another scheduler works."""
    with dask.start_scheduler("127.0.0.1:0", background=True) as ending:
        dask.connect_to_scheduler(ending.address)
        with dask.start_worker(ending.address, background=True):
            threading.Timer(1, ending.stop).start()
            with pytest.raises(ConnectionError, match="was lost"):
                univariate.distributed.dask(time.sleep, [600])
            with pytest.raises(ConnectionError, match="no Dask scheduler answers"):
                dask.report_status()
    with dask.start_scheduler("127.0.0.1:0", background=True) as another:
        dask.connect_to_scheduler(another.address)
        assert dask.report_status().scheduler == another.address


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_hosts(host: str) -> None:
    """IPv6 addresses and names serve as well as IPv4."""
    if host == "::1" and not Path("/proc/net/if_inet6").exists():
        refuse("no IPv6 on this machine")
    address, _ = any_address(host)
    with dask.start_scheduler(address, background=True), dask.start_worker(address, background=True):
        dask.connect_to_scheduler(f"tcp://{address}")
        assert univariate.distributed.dask(square, [5]) == [25]
        dask.disconnect()


def test_tls(tmp_path: Path) -> None:
    """tls:// works with the certificates of one authority, and refuses those of another."""
    good, bad = _certificates(tmp_path / "good"), _certificates(tmp_path / "bad")
    with (
        dask.start_scheduler("tls://127.0.0.1:0", tls=good, background=True) as scheduler,
        dask.start_worker(scheduler.address, tls=good, background=True),
    ):
        dask.connect_to_scheduler(scheduler.address, tls=good)
        assert univariate.distributed.dask(square, [6]) == [36]
        dask.disconnect()
        with pytest.raises(ConnectionError):
            dask.connect_to_scheduler(scheduler.address, tls=bad, timeout=3)


def _certificates(folder: Path) -> Certificates:
    """Make an authority that signs itself, and is the only node."""
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return Certificates(folder / "certificate.pem", folder / "certificate.pem", folder / "key.pem")


def test_shell_twins(cm: CommandLine) -> None:
    """`cm dask scheduler|worker|status`: the same in the shell; Ctrl-C is an ordinary end."""
    address, port = any_address()
    with (
        serving(cm, "dask", "scheduler", address, "--no-dashboard"),
        serving(cm, "dask", "worker", address, "--name", "w", "--memory", "1GB"),
    ):
        [row] = json.loads(cm("dask", "status", address, "-f", "json").stdout)
        assert (row["worker"], row["memory"], row["cores"], row["differences"]) == ("w", 10**9, 1, [])
        assert "953.7 MiB" in cm("dask", "status", address).stdout
        assert "already in use" in cm("dask", "scheduler", address, expect=1).stderr
    assert not listens(port)
    assert "no Dask scheduler answers" in cm("dask", "status", address, expect=1).stderr
    assert "is no address" in cm("dask", "worker", "8786", expect=2).stderr
    assert "belong together" in cm("dask", "status", address, "--tls-key", "x", expect=2).stderr


def test_calls_of_unified_map() -> None:
    """The rows on Dask of the table in docs/cluster-setup.md, one after the other as they stand there."""
    address, _ = any_address()
    with ExitStack() as stack:
        for call in theirs.calls(r"cluster_setup\.dask\.start_"):  # they block as they stand, so in other interpreters
            stack.enter_context(interpreter(f"address = {address!r}; {call}"))
            dask_answers = wait_for(lambda: _answers(address))
            assert dask_answers, call
        for call in theirs.calls(r"cluster_setup\.dask\.(?!start_)"):
            answer = eval(call, {"dask": dask, "address": address})  # noqa: S307  (a page of ours)
        assert wait_for(lambda: len(dask.report_status().workers) == 1)
        assert answer.connected
        for call in theirs.calls(r"\w+\.distributed\.dask"):
            assert eval(call, theirs.NAMES) == theirs.expected(call)  # noqa: S307


def _answers(address: str) -> bool:
    try:
        return dask.status_at(address).connected
    except ConnectionError:
        return False
