"""Faults of this machine's nodes and of this machine: networks, disks, clocks, the journal, a second operator."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cloudmesh_cluster.providers.local.engine.engine import Engine
from cloudmesh_cluster.providers.local.engine.processes import marked_processes
from tests.faults.case import NAME, Case, Trial
from tests.faults.cuts import NODE_REACHED
from tests.support.command_line import Answer
from tests.support.crash import crash
from tests.support.journal_watch import Instant, begun, started

FOR_EVER = 600.0
SLOW = "sleep 12"
CREATE = ("create", NAME, "-p", "slow")
CLOCK = """\
import datetime, time
_time, _datetime = time.time, datetime.datetime
time.time = lambda: _time() + {shift}
class Shifted(_datetime):
    @classmethod
    def now(cls, tz=None):
        return _datetime.fromtimestamp(time.time(), tz)
datetime.datetime = Shifted
"""
"""What makes the clock of a Python process wrong, as its sitecustomize."""


def engine_folder(tried: Trial) -> Path:
    """Return the folder of the cluster's engine."""
    return tried.cm.home / "clusters" / NAME / "engine"


def cable(folder: Path, node: str, images: Path, state: str) -> None:
    """Pull the cable of a node out of its bridge, or put it in: "down" or "up"."""
    pid = Engine(folder, images).running()[node]
    link = _in_network(pid, "ip", "-j", "link", "show", "eth0")[0]["link_index"]
    for holder in marked_processes(folder):
        cables = _in_network(holder, "ip", "-j", "link")
        if not any(each["ifname"] == "br0" for each in cables):
            continue
        end = next(each["ifname"] for each in cables if each["ifindex"] == link)
        subprocess.run(["nsenter", "--net", f"--target={holder}", "ip", "link", "set", end, state], check=True)
        return
    raise AssertionError(f"no bridge of {folder}")


def _in_network(pid: int, *words: str) -> list[dict[str, str]]:
    done = subprocess.run(["nsenter", "--net", f"--target={pid}", *words], capture_output=True, text=True, check=True)
    rows: list[dict[str, str]] = json.loads(done.stdout)
    return rows


@contextmanager
def cut_off(tried: Trial, node: str) -> Iterator[None]:
    """Take a node off the network while the block runs, unless it has gone by then."""
    images = tried.cm.cache / "images"
    cable(engine_folder(tried), node, images, "down")
    yield
    if node in Engine(engine_folder(tried), images).running():
        cable(engine_folder(tried), node, images, "up")


def with_cable_out(tried: Trial, words: Sequence[str], at: Instant, seconds: float) -> Answer:
    """Run `cm cluster WORDS...`; from an instant on the worker has no network, for a time or until the end."""
    with started(tried.cm, "cluster", *words) as running:
        running.wait_for(at)
        with cut_off(tried, "t-worker-1"):
            if seconds < FOR_EVER:
                time.sleep(seconds)
            else:
                return running.answer()
        return running.answer()


def network_in_create(tried: Trial, seconds: float) -> str:
    """Cut a worker's network while its cluster is made: 5 s are waited out, for ever is rolled back."""
    answer = with_cable_out(tried, (*CREATE, "--timeout", "40s"), NODE_REACHED, seconds)
    if seconds < FOR_EVER:
        return expect(tried, answer, 0, "ready")
    return expect(tried, answer, 1, "")


def network_in_write(tried: Trial, seconds: float) -> str:
    """Cut a worker's network while a script runs on it."""
    tried.cm("cluster", *CREATE, timeout=600)
    runs = Instant("script runs", path="clusters/t/logs/*-write-*/t-worker-1.*.log")
    words = ("write", NAME, "worker", "--timeout", "25s", f"echo began; {SLOW}")
    answer = with_cable_out(tried, words, runs, seconds)
    return expect(tried, answer, 0 if seconds < FOR_EVER else 1, "ready")


def network_in_verify(tried: Trial) -> str:
    """Cut a worker's network for the whole of a verify: exit 3, and it is not called ready afterwards."""
    tried.cm("cluster", *CREATE, timeout=600)
    with cut_off(tried, "t-worker-1"):
        answer = tried.cm("cluster", "verify", NAME, expect=None, timeout=600)
        if tried.state() == "ready":
            tried.false.append("ready after a verify that failed")
    tried.cm("cluster", "verify", NAME, timeout=600)
    return expect(tried, answer, 3, "ready")


def disk_of_node_full(tried: Trial) -> str:
    """A script meets a full disk on the node: it fails there, and is not remembered."""
    tried.cm("cluster", *CREATE, timeout=600)
    full = "mount -t tmpfs -o size=16k tmpfs /var/lib/cm/scripts; cat /dev/zero >/var/lib/cm/scripts/x; true"
    tried.cm("cluster", "cmd", NAME, "-t", "worker", "--", f"sudo sh -c {shlex.quote(full)}")
    answer = tried.cm("cluster", "write", NAME, "worker", "echo fine", expect=None)
    tried.cm("cluster", "cmd", NAME, "-t", "worker", "--", "sudo umount /var/lib/cm/scripts")
    return expect(tried, answer, 1, "ready")


def disk_of_client_full(tried: Trial, at: Instant) -> str:
    """The client's disk is full from an instant on, and has room again later."""
    with small_disk(tried.cm.home / "clusters", mib=600) as fill, started(tried.cm, "cluster", *CREATE) as running:
        running.wait_for(at)
        fill()
        answer = running.answer()
        (tried.cm.home / "clusters" / "filler").unlink()
        if answer.exit == 0:
            return expect(tried, answer, 0, "ready", delete=True)
        tried.resume()
        said = tried.state() or "gone"
        if said not in ("ready", "gone"):
            raise AssertionError(f"it is {said}: {answer}")
        return expect(tried, answer, answer.exit, tried.state(), delete=True)


@contextmanager
def small_disk(folder: Path, *, mib: int) -> Iterator[Callable[[], None]]:
    """Mount a small disk; yield what fills it to the last byte."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "tmpfs", folder], check=True)
    (folder / "tmp").mkdir()

    def fill() -> None:
        with (folder / "filler").open("wb", buffering=0) as file:
            size = 2**20
            while size:
                try:
                    file.write(b"x" * size)
                except OSError:
                    size //= 4

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def clock_off(tried: Trial, shift: int) -> str:
    """The client's clock is wrong by an hour: a create is refused by its check of the clocks, so is a verify."""
    folder = tried.cm.home / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK.format(shift=shift))
    path = f"{folder}:{tried.cm.environment()['PYTHONPATH']}"
    off = Trial(type(tried.cm)(tried.cm.home, tried.cm.cache, environ={**tried.cm.environ, "PYTHONPATH": path}))
    answer = off.cm("cluster", *CREATE, expect=1, timeout=600)
    if "expected within 5 s of the client" not in answer.stderr or tried.state():
        raise AssertionError(f"{tried.state()}: {answer}")
    tried.cm("cluster", *CREATE, timeout=600)
    off.cm("cluster", "verify", NAME, expect=3, timeout=600)
    if tried.state() == "ready":
        tried.false.append("ready after a verify that failed")
    tried.cm("cluster", "verify", NAME, timeout=600)
    return expect(tried, answer, 1, "ready")


def journal_damaged(tried: Trial, damage: Callable[[Path], None]) -> str:
    """The journal is damaged: nothing works, nothing is called anything, until it is put back."""
    tried.cm("cluster", *CREATE, timeout=600)
    file = tried.cm.home / "state.db"
    shutil.copy(file, tried.cm.home / "kept")
    damage(file)
    for words in (("list",), ("verify", NAME), ("delete", NAME, "-y"), ("create", "other", "-n", "1")):
        answer = tried.cm("cluster", *words, expect=None)
        if answer.exit == 0 and "t " not in answer.stdout:
            tried.false.append(f"{' '.join(words)}: exit 0 without a journal")
        if "bug in cm" in answer.stderr:
            raise AssertionError(str(answer))
    shutil.copy(tried.cm.home / "kept", file)
    tried.cm("cluster", "verify", NAME, timeout=600)
    return expect(tried, answer, answer.exit, "ready")


def _scribble(file: Path) -> None:
    file.write_bytes(b"this is no journal" + file.read_bytes()[18:])


def _cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:6000])


def two_operators(tried: Trial, one: Sequence[str], other: Sequence[str]) -> str:
    """Two operators change one cluster at a time: one works, the other one is refused or comes after it."""
    tried.cm("cluster", *CREATE, timeout=600)
    answers: list[Answer] = []

    def run(words: Sequence[str]) -> None:
        answers.append(tried.cm("cluster", *words, expect=None, timeout=600))

    threads = [threading.Thread(target=run, args=(words,)) for words in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = sorted(answer.exit for answer in answers)
    if codes not in ([0, 0], [0, 2]):
        raise AssertionError("\n".join(map(str, answers)))
    return f"exit {codes[0]} and {codes[1]}; {tried.state() or 'gone'}"


def reboot(tried: Trial, words: Sequence[str], at: Instant, codes: Sequence[int]) -> str:
    """A node goes down and comes back in the middle of an operation."""
    if words != CREATE:
        tried.cm("cluster", *CREATE, timeout=600)
    with started(tried.cm, "cluster", *words) as running:
        running.wait_for(at)
        crash(tried.cm, NAME, "t-worker-1")
        answer = running.answer()
    if answer.exit not in codes:
        raise AssertionError(str(answer))
    if tried.state() == "ready" and tried.nodes().get("t-worker-1") != "running":
        tried.false.append("ready with a node that does not run")
    if tried.state():
        tried.resume()
        tried.cm("cluster", "start", NAME, timeout=600)
    return expect(tried, answer, answer.exit, tried.state())


def machine_reboots(tried: Trial) -> str:
    """This machine goes down in the middle of a create: all nodes are gone, `resume` makes them again."""
    with started(tried.cm, "cluster", *CREATE) as running:
        running.wait_for(begun("reach"))
        running.process.kill()
        for pid in marked_processes(engine_folder(tried)):
            os.kill(pid, 9)
        running.answer()
    tried.resume()
    return f"resumed, {tried.state()}"


def expect(tried: Trial, answer: Answer, code: int, state: str, *, delete: bool = False) -> str:
    """Return how it ended; fail when the exit code or the state is another one.

    With `delete`, the cluster is deleted before what the case has set up goes.
    """
    now = tried.state()
    if answer.exit != code or now != state:
        raise AssertionError(f"exit {answer.exit}, not {code}; {now or 'gone'}, not {state or 'gone'}: {answer}")
    if delete:
        tried.judge()
    return f"exit {answer.exit}; {now or 'gone'}"


SCRIPT_RUNS = Instant("script runs", path="clusters/t/logs/*-write-*/t-worker-1.*.log")
CASES = (
    *(
        Case(f"{what}: network of the worker cut {time}", "local", partial(run, seconds=seconds))
        for what, run in (("create", network_in_create), ("write", network_in_write))
        for time, seconds in (("for 5 s", 5.0), ("for ever", FOR_EVER))
    ),
    Case("verify: network of the worker cut for ever", "local", network_in_verify),
    Case("write: disk of the node full", "local", disk_of_node_full),
    *(
        Case(f"create: disk of the client full at {at}", "local", partial(disk_of_client_full, at=at))
        for at in (begun("provision"), NODE_REACHED, begun("verify"))
    ),
    Case("create, verify: clock of the client an hour fast", "local", partial(clock_off, shift=3600)),
    Case("create, verify: clock of the client an hour slow", "local", partial(clock_off, shift=-3600)),
    *(
        Case(f"everything: journal {how}", "local", partial(journal_damaged, damage=damage))
        for how, damage in (("overwritten", _scribble), ("cut short", _cut_short))
    ),
    Case("scale and scale: two operators", "local",
         partial(two_operators, one=("scale", NAME, "2"), other=("scale", NAME, "2"))),
    Case("replace and delete: two operators", "local",
         partial(two_operators, one=("replace", NAME, "worker-1"), other=("delete", NAME, "-y"))),
    Case("create: node rebooted while it is made", "local",
         partial(reboot, words=CREATE, at=begun("scripts"), codes=(1,))),
    Case("write: node rebooted while a script runs", "local",
         partial(reboot, words=("write", NAME, "worker", f"echo began; {SLOW}"), at=SCRIPT_RUNS, codes=(1,))),
    Case("scale: node rebooted meanwhile", "local",
         partial(reboot, words=("scale", NAME, "2"), at=begun("provision"), codes=(0, 1))),
    Case("create: this machine rebooted", "local", machine_reboots),
)  # fmt: skip
