"""A `cm` that is sent a signal at an instant of its own journal."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support.command_line import Answer, CommandLine

PATIENCE = 120.0
A_MOMENT = 0.002
OF_STEP = "SELECT 1 FROM steps WHERE operation=:operation AND name=:step"


@dataclass(frozen=True)
class Instant:
    """A moment of an operation.

    Args:
        name: what the test is called.
        sql: a query that answers something from that moment on; `:operation` is the operation's id.
        path: a pattern below CM_HOME; something matches it from that moment on.
        gone: the same; nothing matches it from that moment on.
        step: what `:step` is in the query.

    """

    name: str
    sql: str = "SELECT 1"
    path: str = ""
    gone: str = ""
    step: str = ""

    def __str__(self) -> str:
        return self.name

    def has_come(self, home: Path, journal: sqlite3.Connection, operation: str) -> bool:
        """Return whether this moment of an operation is there."""
        if self.path and next(home.glob(self.path), None) is None:
            return False
        if self.gone and next(home.glob(self.gone), None) is not None:
            return False
        return journal.execute(self.sql, {"operation": operation, "step": self.step}).fetchone() is not None


WRITTEN_DOWN = Instant("operation written down")
NODE_REACHED = Instant(
    "first node reached",
    "SELECT 1 FROM nodes WHERE state='reached' AND EXISTS (SELECT 1 FROM steps WHERE operation=:operation)",
)


def begun(step: str) -> Instant:
    """Return the moment at which a step has been written down and nothing of it is done."""
    return Instant(f"{step} begun", OF_STEP, step=step)


def done(step: str) -> Instant:
    """Return the moment at which a step is done."""
    return Instant(f"{step} done", f"{OF_STEP} AND state='done'", step=step)


def undoing(step: str) -> Instant:
    """Return the moment at which a step is about to be taken back."""
    return Instant(f"{step} undoing", f"{OF_STEP} AND state='undoing'", step=step)


def undone(step: str) -> Instant:
    """Return the moment at which a step has been taken back."""
    return Instant(f"{step} undone", f"{OF_STEP} AND state='undone'", step=step)


class Started:
    """A `cm` process that runs, to be watched and signalled."""

    def __init__(self, cm: CommandLine, words: tuple[str, ...], output: IO[str]) -> None:
        self._cm = cm
        self._words = words
        self._output = output
        self.process = subprocess.Popen(
            cm.argv(*words),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=cm.environment(),
            cwd="/",
            user=cm.user,
            group=cm.user,
            extra_groups=[] if cm.user else None,
        )

    def wait_for(self, instant: Instant) -> None:
        """Wait until the operation of this process is at an instant; fail when it ends before."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_at(instant):
            assert self.process.poll() is None, f"it ended before {instant}\n{self.answer()}"
            assert time.monotonic() < deadline, f"{instant} did not come\n{self._said()}"
            time.sleep(A_MOMENT)

    def is_there_at(self, instant: Instant) -> bool:
        """Wait until the operation of this process is at an instant; return False when it ended before."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_at(instant):
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"{instant} did not come\n{self._said()}"
            time.sleep(A_MOMENT)
        return True

    def wait_for_words(self, words: str) -> None:
        """Wait until the process has said something; fail when it ends before."""
        deadline = time.monotonic() + PATIENCE
        while words not in self._said():
            assert self.process.poll() is None, f"it ended before it said {words!r}\n{self.answer()}"
            assert time.monotonic() < deadline, f"it never said {words!r}\n{self._said()}"
            time.sleep(A_MOMENT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def answer(self) -> Answer:
        """Wait for the end of the process and return what it said, both streams as one."""
        code = self.process.wait(PATIENCE)
        return Answer(self._words, code, "", self._said())

    def _said(self) -> str:
        return Path(self._output.name).read_text(encoding="utf-8")

    def _is_at(self, instant: Instant) -> bool:
        if not (self._cm.home / "state.db").exists():
            return False
        try:
            own = _operations(self._cm.home, pid=self.process.pid)
            with closing(_journal(self._cm.home)) as journal:
                return any(instant.has_come(self._cm.home, journal, operation) for operation in own)
        except sqlite3.OperationalError:
            return False  # in the middle of being written


@contextmanager
def started(cm: CommandLine, *words: str) -> Iterator[Started]:
    """Start `cm WORDS...`; yield it, and kill it in the end if it still runs."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as output:
        running = Started(cm, words, output)
        try:
            yield running
        finally:
            running.process.kill()
            running.process.wait()


def signalled(cm: CommandLine, *words: str, at: Instant, number: signal.Signals = signal.SIGKILL) -> Answer:
    """Run `cm WORDS...`, send it a signal at an instant and return what it said until it ended."""
    with started(cm, *words) as running:
        running.wait_for(at)
        running.send(number)
        return running.answer()


def _journal(home: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{home / 'state.db'}?mode=ro", uri=True, timeout=0)


def _operations(home: Path, *, pid: int) -> list[str]:
    with closing(_journal(home)) as journal:
        return [str(row[0]) for row in journal.execute("SELECT id FROM operations WHERE pid=?", (pid,))]
