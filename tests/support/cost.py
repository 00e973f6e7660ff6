"""What each test costs: the seconds it takes, and the CPU seconds that it and all it started use meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROWS = 30
WORTH_A_ROW = 1.0
"""Seconds; quicker tests are in no table."""
GROUPS = Path("/sys/fs/cgroup/cpuacct")
"""Here the kernel accounts CPU time, whatever group the node engine puts a node into (control groups v1)."""
_BEGAN = pytest.StashKey[tuple[float, float]]()


def pytest_configure(config: pytest.Config) -> None:
    """Measure in every process that runs tests; print in the one that reports them."""
    config.pluginmanager.register(Costs())


class Costs:
    """Measures tests where they run, and gathers the figures where they are reported."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, float, float]] = []
        self._clock = _Clock()
        self._began = time.monotonic(), _busy_seconds()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note when a test begins, before its fixtures are made."""
        item.stash[_BEGAN] = time.monotonic(), self._clock.seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Write the figures into the report of the test's last phase, which reaches the process that prints."""
        report: pytest.TestReport = yield  # type: ignore[assignment]  # pytest sends the report back
        if call.when == "teardown":
            wall, cpu = item.stash[_BEGAN]
            report.user_properties.append(("seconds", time.monotonic() - wall))
            report.user_properties.append(("cpu", self._clock.seconds() - cpu))
        return report  # type: ignore[return-value]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the figures of a test that has ended."""
        if report.when == "teardown":
            figures = dict(report.user_properties)
            self._rows.append((report.nodeid, float(str(figures["seconds"])), float(str(figures["cpu"]))))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the slowest tests, and how busy this machine was."""
        wall, busy = (now - then for now, then in zip((time.monotonic(), _busy_seconds()), self._began, strict=True))
        slowest = sorted((row for row in self._rows if row[1] > WORTH_A_ROW), key=lambda row: -row[1])[:ROWS]
        if not slowest:
            return
        terminalreporter.section("where the time goes")
        terminalreporter.write_line(f"{wall:.0f} s, in which this machine's CPUs were busy for {busy:.0f} s")
        terminalreporter.write_line(f"{sum(row[1] for row in self._rows):.0f} s of tests, the slowest:")
        terminalreporter.write_line("seconds     CPU")
        for name, seconds, cpu in slowest:
            terminalreporter.write_line(f"{seconds:7.1f} {cpu:7.1f}  {name}")


class _Clock:
    """CPU seconds of this process and of all that it starts, daemons included, where the kernel accounts them."""

    def __init__(self) -> None:
        self._usage: Path | None = None
        group = GROUPS / f"cm-tests-{os.getpid()}"
        try:
            group.mkdir()
            (group / "cgroup.procs").write_text(str(os.getpid()))
            self._usage = group / "cpuacct.usage"
        except OSError:
            pass  # not root, or control groups v2: only processes that are waited for count

    def seconds(self) -> float:
        """Return the CPU seconds used so far."""
        if self._usage is None:
            return sum(os.times()[:4])
        return int(self._usage.read_text(encoding="ascii")) / 1e9


def _busy_seconds() -> float:
    """Return the seconds that all CPUs together have worked since this machine started."""
    user, nice, system, idle, wait, *others = Path("/proc/stat").read_text(encoding="ascii").split()[1:9]
    del idle, wait
    return sum(map(int, (user, nice, system, *others))) / os.sysconf("SC_CLK_TCK")
