"""Schedulers' addresses, options and statuses: what can be said without any scheduler."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloudmesh_cluster.cluster_setup import guard
from cloudmesh_cluster.cluster_setup.address import (
    Address,
    own_address_towards,
    parse_address,
    refuse_unless_answering,
    refuse_unless_free,
)
from cloudmesh_cluster.cluster_setup.options import check_cores, check_ports, mebibytes
from cloudmesh_cluster.cluster_setup.service import Service
from cloudmesh_cluster.cluster_setup.status import Status, WorkerStatus, differences
from cloudmesh_cluster.core.errors import CmError, ConnectionFailed

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8791", Address("tcp", "127.0.0.1", 8791)),
        ("tcp://10.0.0.1:1", Address("tcp", "10.0.0.1", 1)),
        ("tls://head.example.org:65535", Address("tls", "head.example.org", 65535)),
        ("[::1]:8786", Address("tcp", "::1", 8786)),
        ("tcp://[fe80::1%eth0]:8786", Address("tcp", "fe80::1%eth0", 8786)),
        ("node-1:8786", Address("tcp", "node-1", 8786)),
    ],
)
def test_address(text: str, address: Address) -> None:
    """IPv4, IPv6 and names are read with and without a scheme, and written so that they read back."""
    assert parse_address(text, ("tcp", "tls")) == address
    assert parse_address(str(address), ("tcp", "tls")) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "8786", "127.0.0.1", "127.0.0.1:", ":8786", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1", "1.2.3:8786",
        "127.0.0.256:8786", "::1:8786", "[127.0.0.1]:8786", "[::g]:8786", "http://127.0.0.1:8786", "spark://a:1",
        "a b:1", "a/b:1", "-a:1", "a..b:1", "127.0.0.1:8786/x", "127.0.0.1:8786\n", "tcp:127.0.0.1:8786", "tcp://",
    ],
)  # fmt: skip
def test_no_address(text: str) -> None:
    """What is no address is a ValueError that says what one looks like, and exit 2 for `cm`."""
    with pytest.raises(ValueError, match="no |possible") as raised:
        parse_address(text, ("tcp", "tls"))

    assert isinstance(raised.value, CmError)
    assert raised.value.exit_code == 2
    assert raised.value.hint


def test_port_0_means_any_where_it_may() -> None:
    """Only who listens may leave the port open."""
    assert parse_address("127.0.0.1:0", ("tcp",), any_port=True).port == 0


def test_address_in_use() -> None:
    """A port that somebody uses, and a host of another machine, are refused before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("tcp", "127.0.0.1", taken.getsockname()[1])
        refuse_unless_answering(address, what="scheduler")
        with pytest.raises(ConnectionError, match="already in use"):
            refuse_unless_free(address)
    refuse_unless_free(address)
    with pytest.raises(ConnectionError, match="no scheduler answers at tcp://127.0.0.1"):
        refuse_unless_answering(address, what="scheduler")
    with pytest.raises(ConnectionError, match="nothing can listen on tcp://192.0.2.1"):
        refuse_unless_free(Address("tcp", "192.0.2.1", 8786))


def test_what_to_do_is_part_of_the_error() -> None:
    """Python shows the hint below the error, `cm` takes it from the field."""
    error = ConnectionFailed("no scheduler", hint="start one")

    assert error.__notes__ == [error.hint] == ["start one"]


def test_own_address_is_the_one_on_the_way() -> None:
    """Whoever is on this machine is reached from the same address."""
    assert own_address_towards(Address("tcp", "127.0.0.1", 1)) == "127.0.0.1"


@pytest.mark.parametrize(
    ("size", "mib"), [("auto", 0), (0, 0), ("0", 0), (2**30, 1024), ("5GB", 4768), ("1GiB", 1024), ("1g", 1024)]
)
def test_sizes(size: int | str, mib: int) -> None:
    """Sizes are bytes or have a unit; 0 and auto leave it to Spark."""
    assert mebibytes(size) == mib


@pytest.mark.parametrize("size", [-1, 1000, "-5GB", "5 apples", "", "GB"])
def test_no_sizes(size: int | str) -> None:
    """Other sizes are refused."""
    with pytest.raises(ValueError, match="max_memory="):
        mebibytes(size)


def test_options_are_refused_by_name() -> None:
    """Impossible ports and cores are a ValueError that names the option."""
    check_ports(dashboard_port=None, port=0)
    check_cores(None)
    with pytest.raises(ValueError, match="dashboard_port=65536"):
        check_ports(dashboard_port=65536)
    with pytest.raises(ValueError, match="num_cores=0"):
        check_cores(0)


def test_status_without_connection() -> None:
    """Without a connection it says so, as the original did."""
    status = Status("Dask")

    assert (str(status), status.connected, status.cores) == ("Not connected to a scheduler.", False, 0)


def test_status_shows_what_it_knows() -> None:
    """The text names each worker and what differs; in HTML nothing that a node says is markup."""
    worker = WorkerStatus("<b>w</b>", "10.0.0.2", "running", 2, 2 * 2**30, 2**20, 3)
    other = differences({"python": "3.11.2", "numpy": "2.0"}, {"<b>w</b>": {"python": "3.12.1"}, "v": {"numpy": "2.0"}})
    status = Status("Dask", "tcp://10.0.0.1:8786", "http://10.0.0.1:8787", (worker,), {"memory": 1}, differences=other)

    assert "1 worker, 2 cores, 2.0 GiB" in str(status)
    assert "warning: <b>w</b> has python 3.12.1, here it is 3.11.2" in str(status)
    assert repr(status) == str(status)
    assert "<b>" not in status._repr_html_()
    assert "&lt;b&gt;w&lt;/b&gt;" in status._repr_html_()


def test_depth_of_settings() -> None:
    """`depth` means what it means in pprint."""
    settings = {"spark.app.name": "a"}

    assert "spark.app.name" in str(Status("Spark", "spark://a:1", settings=settings))
    assert "spark.app.name" not in str(Status("Spark", "spark://a:1", settings=settings, depth=1))


def test_importing_is_cheap() -> None:
    """Neither Dask nor Spark is imported before a function needs it."""
    code = (
        "import sys; from cloudmesh_cluster import cluster_setup, univariate, multivariate; "
        "sys.exit(any(name in sys.modules for name in ('dask', 'distributed', 'pyspark', 'joblib', 'asyncio')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def service(*words: str) -> Service:
    """Return a service that has begun."""
    started = Service("test", "tcp://127.0.0.1:1", words or SLEEP, environ=os.environ)
    started.begin(lambda: "up" in started.output, timeout=60, hint="", background=True)
    return started


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pid: int) -> bool:
    """Return whether a process ends within a minute."""
    deadline = time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_service_stops() -> None:
    """A handle stops its process once, as often as it is asked."""
    with service() as started:
        assert alive(started.pid)
        assert "process" in repr(started)
    started.stop()

    assert not started.running
    assert not alive(started.pid)
    assert "stopped" in repr(started)


def test_service_takes_with_it_what_it_has_started() -> None:
    """Children that have left their parent, and don't listen to SIGTERM, end with it."""
    grandchild = "import signal, time; signal.signal(15, signal.SIG_IGN); print(__import__('os').getpid(), flush=True)"
    code = (
        "import subprocess, sys, time; "
        f'subprocess.Popen([sys.executable, "-c", "{grandchild}; time.sleep(600)"], start_new_session=True); '
        "time.sleep(1); print('up', flush=True); time.sleep(600)"
    )
    guard_words = [sys.executable, str(guard.__file__), str(os.getpid()), "0.5", "", sys.executable, "-c", code]
    with subprocess.Popen(guard_words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == "up\n"
        process.terminate()
        assert process.wait(60) == 143

    assert not alive(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_service_ends_with_who_started_it(tmp_path: Path, how: signal.Signals) -> None:
    """However the interpreter ends, also by `kill -9`, nothing of the service stays, not even its folder."""
    folder = tmp_path / "of-the-service"
    folder.mkdir()
    code = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from cloudmesh_cluster.cluster_setup.service import Service
s = Service("test", "tcp://127.0.0.1:1", [sys.executable, "-c",
    "import os, time; print(os.getpid(), flush=True); time.sleep(600)"],
    environ=os.environ, folder=Path({str(folder)!r}))
s.begin(lambda: bool(s.output), timeout=60, hint="", background=True)
print(s.pid, s.output[0], flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        process.send_signal(how)

    assert len(pids) == 2
    assert all(wait_for_end(pid) for pid in pids)
    assert not folder.exists()


def test_service_that_can_not_start_says_why() -> None:
    """The error of a process that ends while it is waited for has its exit status and last lines."""
    failing = Service("test", "tcp://127.0.0.1:1", ["sh", "-c", "echo no such luck; exit 3"], environ=os.environ)
    with pytest.raises(ConnectionError, match=r"could not be started \(exit 3\):\n  no such luck"):
        failing.begin(lambda: False, timeout=60, hint="", background=True)


def test_service_that_ends_by_itself_is_an_error() -> None:
    """Who waits for a service hears when it ends unasked."""
    with service("sh", "-c", "echo up; sleep 1; echo enough") as ending, pytest.raises(ConnectionError, match="enough"):
        ending.wait()
