"""Programs run to their end, with what they cost: seconds, CPU seconds, peak memory."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class BenchmarkFailed(Exception):
    """A program that is measured did not do what it should."""


@dataclass(frozen=True)
class Run:
    """What a program said and cost.

    Args:
        seconds: from its start to its end.
        cpu: seconds of CPU of it and of the children it waited for.
        peak_mb: the most memory that it, or one of its children, had at a time.
        stdout: all it printed.
        stderr: the same of its standard error.

    """

    seconds: float
    cpu: float
    peak_mb: float
    stdout: str
    stderr: str


def run(words: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 600.0, expect: int = 0) -> Run:
    """Run a program to its end.

    Raises:
        BenchmarkFailed: it ended with another exit status than `expect`, or was killed after `timeout` seconds.

    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            words, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True
        )
        killer = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        said = [_text(file.fileno()) for file in (out, errors)]
    if process.returncode != expect:
        last = "\n".join((said[1] or said[0]).splitlines()[-15:])
        raise BenchmarkFailed(f"{' '.join(words[:8])}: exit {process.returncode} after {seconds:.1f} s\n{last}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said[0], said[1])


def _text(descriptor: int) -> str:
    return os.pread(descriptor, 1 << 30, 0).decode("utf-8", "replace")


def median_of(times: int, once: Callable[[], Run]) -> Run:
    """Run something several times, and return the run of the median time."""
    runs = sorted((once() for _ in range(times)), key=lambda each: each.seconds)
    return runs[statistics.median_low(range(times))]


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as text in columns; numbers stand to the right."""
    cells = [list(heads), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    right = [all(isinstance(row[column], int | float | None) for row in rows) for column in range(len(heads))]
    lines = [
        "  ".join(
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        )
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def machine() -> str:
    """Return what the figures depend on: cores in use, load, kernel."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores} cores, {memory:.0f} GiB, Linux {os.uname().release}, load {load}"


def use_cores(count: int) -> None:
    """Keep this process and all it starts on the first cores."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:count])


@contextmanager
def own_cpu_seconds() -> Iterator[Callable[[], float] | None]:
    """Yield a function that returns the CPU seconds of this process and all it has started, daemons included.

    They are counted by a control group; where none can be had, None is yielded.
    """
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    here = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    paths = [line.removeprefix("0::/") for line in here if line.startswith("0::/")]
    parents = [Path(target, path) for _, target, kind, *_ in mounts if kind == "cgroup2" for path in paths]
    group = parents[0] / f"cm-bench-{os.getpid()}" if parents else Path("/nonexistent")
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    except OSError:
        yield None
        return
    try:
        yield lambda: int((group / "cpu.stat").read_text(encoding="ascii").split()[1]) / 1e6
    finally:
        (group.parent / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        group.rmdir()


def busy_seconds() -> float:
    """Return the CPU seconds that all of this machine has worked since it was started."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    idle, waiting = int(fields[3]), int(fields[4])
    return (sum(map(int, fields[:8])) - idle - waiting) / os.sysconf("SC_CLK_TCK")
