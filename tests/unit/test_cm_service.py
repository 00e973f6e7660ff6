"""Tests of `cm-service` with real processes, below a folder of their own and without systemd."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster.core.resources import resource

SCRIPT = resource("scripts", "boot", "cm-service")
# Python, since a shell's own children would get the signal, too.
ENDS_SLOWLY = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.6), print("ended", flush=True), sys.exit()))
print("up", flush=True)
while True:
    signal.pause()
"""
NEVER_ENDS = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""
# Its first thread ends at once, as it may in a JVM that is just ending: a zombie whose ports are still taken.
HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
print("up", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


class Services:
    """`cm-service` for one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Call it, and return its answer when its exit status is the expected one."""
        answer = subprocess.run(
            [str(SCRIPT), *words],
            env={**os.environ, "CM_SERVICE_ROOT": str(self.root)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert answer.returncode == expect, answer
        return answer

    def add(self, name: str, *command: str, timeout: int = 5) -> None:
        """Add a service of this user; `timeout` is in seconds."""
        self("add", name, "--user", getpass.getuser(), "--stop-timeout", str(timeout), "--", *command)

    def pid(self, name: str) -> int:
        """Return the process that the pid file names."""
        return int((self.root / f"run/cm/{name}.pid").read_text().split()[0])

    def log(self, name: str) -> str:
        """Return all output of a service."""
        return (self.root / f"var/log/cm/{name}.log").read_text()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Return `cm-service` for a fresh folder, and end what it has started."""
    running = Services(tmp_path)
    yield running
    for file in (tmp_path / "run/cm").glob("*.pid"):
        pid = int(file.read_text().split()[0])
        if pid > 1 and alive(pid):
            os.killpg(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether a condition holds within a few seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_service_runs_in_a_session_of_its_own_until_it_is_stopped(services: Services) -> None:
    """`start` returns while the daemon runs on, detached; `stop` ends it."""
    services.add("echo", "sleep", "1000")
    services("status", "echo", expect=3)
    services("start", "echo")
    pid = services.pid("echo")

    assert alive(pid)
    assert os.getsid(pid) == pid
    assert services("status", "echo").stdout == f"echo running (process {pid})\n"

    services("stop", "echo")
    assert not alive(pid)
    assert services("status", "echo", expect=3).stdout == "echo stopped\n"


def test_a_process_is_not_gone_before_all_its_threads_are(services: Services) -> None:
    """A zombie with threads runs, and `stop` waits for them."""
    services.add("headless", "python3", "-c", HEADLESS)
    services("start", "headless")
    pid = services.pid("headless")
    assert eventually(lambda: "up" in services.log("headless") and not alive(pid))
    assert services("status", "headless").stdout == f"headless running (process {pid})\n"
    services("stop", "headless")

    assert len(list(Path("/proc").glob(f"{pid}/task/*"))) <= 1


def test_starting_twice_starts_one_process(services: Services) -> None:
    """Also when both come at the same time."""
    services.add("once", "bash", "-c", "echo $$; exec sleep 1000")
    environment = {**os.environ, "CM_SERVICE_ROOT": str(services.root)}
    both = [subprocess.Popen([str(SCRIPT), "start", "once"], env=environment) for _ in range(2)]
    assert [process.wait(timeout=30) for process in both] == [0, 0]
    assert eventually(lambda: services.log("once").endswith("\n"))
    pid = services.pid("once")
    services("start", "once")

    assert services.pid("once") == pid
    assert services.log("once").split() == [str(pid)]


def test_stop_returns_when_the_process_has_ended(services: Services) -> None:
    """A daemon that needs its time gets it: whoever starts it again finds its ports free."""
    services.add("slow", "python3", "-c", ENDS_SLOWLY)
    services("start", "slow")
    assert eventually(lambda: "up" in services.log("slow"))
    pid = services.pid("slow")
    services("stop", "slow")

    assert not alive(pid)
    assert services.log("slow").splitlines() == ["up", "ended"]


def test_a_process_that_does_not_end_is_killed_at_the_deadline(services: Services) -> None:
    """SIGTERM first, SIGKILL after the time given, and it says so."""
    services.add("stubborn", "python3", "-c", NEVER_ENDS, timeout=1)
    services("start", "stubborn")
    assert eventually(lambda: "up" in services.log("stubborn"))
    pid = services.pid("stubborn")
    answer = services("stop", "stubborn")

    assert not alive(pid)
    assert "does not end within 1 s" in answer.stderr


def test_what_a_service_has_started_ends_with_it(services: Services) -> None:
    """No child of the daemon is left."""
    services.add("parent", "bash", "-c", "sleep 1000 & echo $!; wait")
    services("start", "parent")
    assert eventually(lambda: services.log("parent").endswith("\n"))
    child = int(services.log("parent"))
    assert alive(child)
    services("stop", "parent")

    assert not alive(child)


def test_a_service_that_ends_at_once_is_reported_with_its_words(services: Services) -> None:
    """`start` fails and shows the end of the output."""
    services.add("broken", "bash", "-c", "echo the port is taken >&2; exit 7")
    answer = services("start", "broken", expect=1)

    assert "the port is taken" in answer.stderr
    services("status", "broken", expect=3)


def test_a_service_that_is_launched_slowly_is_watched_all_the_same(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts as ending at once is counted from when the command runs, however busy the machine is."""
    slow = tmp_path / "bin" / "getent"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nsleep 0.5\nexec {shutil.which("getent")} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    services.add("broken", "false")

    assert "ended at once" in services("start", "broken", expect=1).stderr


def test_the_pid_of_somebody_else_is_left_alone(services: Services) -> None:
    """After a reboot a pid in an old file may be any process."""
    services.add("gone", "sleep", "1000")
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            (services.root / "run/cm").mkdir(parents=True)
            (services.root / "run/cm/gone.pid").write_text(f"{bystander.pid} 12345\n")
            services("status", "gone", expect=3)
            services("stop", "gone")

            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_words_arrive_as_they_were_given(services: Services) -> None:
    """Blanks, quotes, dollars and newlines are the command's own."""
    words = ["a b", "c'd", 'e"f', "$HOME", "g\\h", "*", "i\nj", ""]
    services.add("words", "python3", "-c", "import sys, time; print(sys.argv[1:], flush=True); time.sleep(99)", *words)
    services("start", "words")

    assert eventually(lambda: services.log("words") == f"{words}\n")


def test_a_service_sees_a_clean_environment(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller has in its environment does not reach the daemon, which runs at boot without it."""
    monkeypatch.setenv("CM_SECRET", "x")
    services.add("clean", "bash", "-c", "env; sleep 1000")
    services("start", "clean")
    assert eventually(lambda: "PATH=" in services.log("clean"))

    assert "CM_SECRET" not in services.log("clean")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_service_runs_as_its_user(services: Services) -> None:
    """Root starts it, the user runs it."""
    services("add", "as-nobody", "--user", "nobody", "--", "bash", "-c", "id -un; sleep 1000")
    services("start", "as-nobody")

    assert eventually(lambda: services.log("as-nobody") == "nobody\n")


def test_boot_starts_all_in_the_order_in_which_they_were_added(services: Services) -> None:
    """One that fails does not keep the others from starting; shutdown goes the other way round."""
    trace = services.root / "trace"
    note = f"trap 'echo -$0 >> {trace}; exit' TERM; echo +$0 >> {trace}; while :; do sleep 0.02; done"
    services.add("zebra", "bash", "-c", note, "zebra")
    services.add("broken", "false")
    services.add("ape", "bash", "-c", note, "ape")
    services.add("zebra", "bash", "-c", note, "zebra")
    assert services("list").stdout.split() == ["zebra", "broken", "ape"]
    services("boot", expect=1)
    assert eventually(lambda: trace.exists() and len(trace.read_text().split()) == 2)
    services("shutdown")

    assert trace.read_text().split() == ["+zebra", "+ape", "-ape", "-zebra"]


def test_rc_local_calls_boot_once_and_keeps_what_it_held(services: Services) -> None:
    """Without systemd the services come back after a reboot."""
    rc_local = services.root / "etc/rc.local"
    rc_local.parent.mkdir()
    rc_local.write_text("#!/bin/sh -e\necho mine\nexit 0\n")
    services.add("one", "sleep", "1000")
    services.add("two", "sleep", "1000")
    lines = rc_local.read_text().splitlines()

    assert lines[:2] == ["#!/bin/sh -e", "echo mine"]
    assert lines[-1] == "exit 0"
    assert sum("cm-service boot" in line for line in lines) == 1
    assert os.access(rc_local, os.X_OK)


def test_remove_stops_and_forgets(services: Services) -> None:
    """Nothing of the service is left but its log; removing it again is no error."""
    services.add("brief", "sleep", "1000")
    services("start", "brief")
    pid = services.pid("brief")
    services("remove", "brief")
    services("remove", "brief")

    assert not alive(pid)
    services("status", "brief", expect=4)
    assert services("list").stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "Bad_Name", "--", "true"), "is no name for a service"),
        (("add", "x", "--user", "nobody-of-this-name", "--", "true"), "there is no user"),
        (("add", "x", "--stop-timeout", "soon", "--", "true"), "is no number of seconds"),
        (("add", "x"), "what shall x run?"),
        (("add", "x", "--colour", "red", "--", "true"), "unknown option --colour"),
        (("start", "../etc"), "is no name for a service"),
        (("dance",), "cm-service start|stop|restart|remove NAME"),
    ],
)
def test_wrong_usage_is_refused(services: Services, words: tuple[str, ...], message: str) -> None:
    """Each with exit 2 and one clear line."""
    assert message in services(*words, expect=2).stderr


def test_the_unit_quotes_each_word_for_systemd(services: Services) -> None:
    """It expands % and $ and takes quotes and backslashes away."""
    services.add("quoted", "/bin/echo", "a b", "100%", "$HOME", 'say "hi"', "back\\slash", timeout=7)
    lines = services("unit", "quoted").stdout.splitlines()

    assert 'ExecStart="/bin/echo" "a b" "100%%" "$$HOME" "say \\"hi\\"" "back\\\\slash" ' in lines
    assert f"User={getpass.getuser()}" in lines
    assert "TimeoutStopSec=7" in lines
