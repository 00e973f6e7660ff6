"""What is seen while an operation runs, and how Ctrl-C ends it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.state.records import Operation
from cloudmesh_cluster.state.store import State
from cloudmesh_cluster.views.progress.progress import PlainLines, line_of, progress_on
from tests.support.command_line import CommandLine
from tests.support.journalled import add_cluster
from tests.support.terminal import Terminal

AT = "2026-01-01T10:00:00.000+00:00"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("plan", message="cluster t: 1 master"), "cluster t: 1 master"),
        (Event("begin", "wire"), "wire ..."),
        (Event("begin", "reach", "t-worker-1"), None),
        (Event("done", "reach", "t-worker-1", seconds=1.26), "t-worker-1: reach done (1.3 s)"),
        (Event("failed", "wire", message="no route", seconds=2.0), "wire failed (2.0 s)"),
        (Event("failed", "wire", "t-master", "no route", 2.0), "t-master: wire failed (2.0 s): no route"),
        (Event("output", "script x", "t-master", "hello  "), "t-master | hello"),
        (Event("output", "script x", "t-master", "\x1b[31mred"), "t-master | \\x1b[31mred"),
        (Event("warning", node="t-master", message="slow"), "t-master: warning: slow"),
        (Event("info", message="building the image"), "building the image"),
    ],
)
def test_lines(event: Event, line: str | None) -> None:
    """Each event is one line; that a node begins a step is too small to tell."""
    assert line_of(event) == line


def test_a_pipe_gets_plain_lines_with_the_time() -> None:
    """Without a terminal each line begins with the time of day, and there are no escapes."""
    stream = io.StringIO()
    with progress_on(stream) as emit:
        emit(Event("begin", "wire", at=AT))
        emit(Event("done", "wire", seconds=1.0, at=AT))

    assert re.fullmatch(r"\d\d:00:00  wire \.\.\.\n\d\d:00:00  wire done \(1\.0 s\)\n", stream.getvalue())


def test_a_watcher_that_goes_away_stops_nothing() -> None:
    """A closed pipe behind standard error does not end the operation."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as stream:
        PlainLines(stream)(Event("info", message="x" * 100_000))
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


WATCH = """
import sys, time
from cloudmesh_cluster.views.progress.progress import progress_on
from cloudmesh_cluster.core.events import Event
with progress_on(sys.stderr) as emit:
    emit(Event("plan", message="the plan"))
    emit(Event("begin", "reach"))
    for i in range(3):
        emit(Event("begin", "reach", f"t-worker-{i}"))
        time.sleep(0.3)
    emit(Event("done", "reach", "t-worker-2", seconds=0.1))
    emit(Event("output", "script", "t-worker-1", "a line of a script"))
    time.sleep(1.0)
    emit(Event("done", "reach", seconds=2.0))
print("the end")
"""


def test_a_terminal_gets_a_line_for_each_node_the_slowest_last() -> None:
    """Live lines show step and time of each node; those that are done stand first, the slowest last."""
    environ = CommandLine(Path("/nonexistent"), Path("/nonexistent")).environment()
    with Terminal([sys.executable, "-c", WATCH], environ) as terminal:
        seen = terminal.expect("the end")
        assert terminal.end() == 0

    assert "the plan" in seen
    assert "t-worker-1 | a line of a script" in seen
    assert "reach done (2.0 s)" in seen
    pictures = [part for part in seen.split("(all:") if "done" in part and "..." in part]
    order = [re.findall(r"t-worker-(\d)  reach", picture) for picture in pictures]
    assert ["2", "1", "0"] in order


RUN = """
import asyncio, sys
from pathlib import Path
from cloudmesh_cluster.cli.dispatch import failures
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.core.home import Home
home = Home(Path(sys.argv[1]), Path(sys.argv[1]))
async def work(emit):
    try:
        print("ready", flush=True)
        await asyncio.sleep(60)
    finally:
        print("rolling back", flush=True)
        await asyncio.shield(asyncio.sleep(float(sys.argv[2])))
        print("rolled back", flush=True)
try:
    Session(home, {}).run(["t"], work)
except BaseException as error:
    sys.stderr.write(failures.explain(error, debug=False))
    sys.exit(failures.exit_code(error))
"""


def start(home: Home, seconds: float) -> subprocess.Popen[str]:
    """Start an operation whose rollback takes a while, and wait until it runs."""
    environ = CommandLine(home.root, home.cache).environment()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(home.root), str(seconds)], env=environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_lets_the_operation_clean_up(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C cancels the operation, which rolls back by itself; the exit code is 130."""
    process = start(Home(tmp_path, tmp_path), 0.2)
    process.send_signal(number)
    out, error = process.communicate(timeout=20)

    assert (process.returncode, out) == (130, "rolling back\nrolled back\n")
    assert "Ctrl-C again stops at once" in error


def test_the_second_interrupt_stops_at_once_and_tells_what_is_left(tmp_path: Path) -> None:
    """A second Ctrl-C waits for nothing; it lists what there is and how to go on."""
    home = Home(tmp_path, tmp_path)
    add_cluster(home, "t")
    with State(home) as state:
        state.begin_operation(Operation("op", "t", "create", "running", 1, "2026-01-01", None, {}, ""))
    process = start(home, 60)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "rolling back\n"
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=20)

    assert (process.returncode, out) == (130, "")
    assert "create t was under way" in error
    assert f"left: folder {home.cluster('t')}\n" in error
    assert "cm cluster resume t" in error
    assert "cm cluster delete t" in error
