"""A scheduler or worker: a process of its own, which ends with the process that started it."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from cloudmesh_cluster.core.errors import ConnectionFailed

GRACE = 10.0  # seconds that a process has to end by itself
LINES_KEPT = 200
LINES_SHOWN = 8
_GUARD = Path(__file__).with_name("guard.py")
_LOOK = 0.02  # seconds between two looks at a process that is starting
_running: set[Service] = set()


class Service:
    """A handle of a running scheduler or worker; as a context manager it stops it at the end.

    Attributes:
        what: what it is ("Dask scheduler").
        address: where it serves; for a worker, the address of its scheduler.
        name: the name of a worker; of a scheduler, nothing.
        dashboard: the address of its web page; empty when it has none.

    Args:
        what: see above.
        address: see above.
        words: the program.
        environ: its whole environment.
        name: see above.
        folder: goes when the program has ended, however that happens.

    """

    def __init__(self, what: str, address: str, words: Sequence[str], *, environ: Mapping[str, str], name: str = "",
                 folder: Path | None = None) -> None:  # fmt: skip
        self.what = what
        self.address = address
        self.name = name
        self.dashboard = ""
        self._owner = os.getpid()
        self._asked = False
        self._log = logging.getLogger(f"cloudmesh_cluster.cluster_setup.{what.replace(' ', '.').lower()}")
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        # A session of its own: Ctrl-C is for us, who then end it in order.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), str(GRACE), str(folder or ""), *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(environ),
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, name=f"output of {what}", daemon=True)
        self._reader.start()
        _running.add(self)

    def __repr__(self) -> str:
        state = f"process {self._process.pid}" if self.running else "stopped"
        return f"<{self.what}{' ' + self.name if self.name else ''} at {self.address}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that guards it; SIGTERM to it stops all."""
        return self._process.pid

    @property
    def output(self) -> tuple[str, ...]:
        """The last lines that it wrote. All of them go to the logger `cloudmesh_cluster.cluster_setup`, level INFO."""
        return tuple(self._lines)

    def stop(self) -> None:
        """Stop it and everything it has started; harmless when it is stopped already."""
        if os.getpid() != self._owner:  # a fork has the handle, and nothing else
            return
        self._asked = True
        if self.running:
            self._process.terminate()
        self._process.wait()
        self._reader.join(timeout=GRACE)
        _running.discard(self)

    def begin(self, ready: Callable[[], bool], *, timeout: float, hint: str, background: bool) -> None:
        """Wait until it serves; then block as `wait` does, unless it is to serve in the background.

        Args:
            ready: whether it serves.
            timeout: seconds until it must.
            hint: what to do when it does not.
            background: whether to return as soon as it serves.

        Raises:
            ConnectionFailed: it ended, or did not serve in time.

        """
        if background:
            self._wait_until(ready, [], timeout=timeout, hint=hint)
            return
        with _told_to_stop() as told:
            self._wait_until(ready, told, timeout=timeout, hint=hint)
            self._wait(told)

    def wait(self) -> None:
        """Block until Ctrl-C, SIGTERM or SIGHUP, then stop it and return. Only the main thread is told of signals.

        Raises:
            ConnectionFailed: it ended by itself.

        """
        with _told_to_stop() as told:
            self._wait(told)

    def _wait(self, told: list[int]) -> None:
        while self.running and not told:
            time.sleep(0.1)
        asked = bool(told) or self._asked
        self.stop()
        if not asked:
            raise self.failed("ended by itself")

    def _wait_until(self, ready: Callable[[], bool], told: list[int], *, timeout: float, hint: str) -> None:
        deadline = time.monotonic() + timeout
        try:
            while not told and not ready():
                if not self.running:
                    raise self.failed("could not be started", hint=hint)
                if time.monotonic() > deadline:
                    raise self.failed(f"did not serve within {timeout:g} s", hint=hint)
                time.sleep(_LOOK)
        except BaseException:  # Ctrl-C, too, must not leave the process behind; raised again
            self.stop()
            raise

    def failed(self, how: str, *, hint: str = "") -> ConnectionFailed:
        """Return an error that shows its last lines."""
        if not self.running:
            self._reader.join(timeout=GRACE)
            how += f" (exit {self._process.returncode})"
        said = "".join(f"\n  {line}" for line in self.output[-LINES_SHOWN:])
        return ConnectionFailed(f"the {self.what} at {self.address} {how}{':' if said else ''}{said}", hint=hint)

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as pipe:
            for raw in pipe:
                line = raw.decode(errors="replace").rstrip()
                self._lines.append(line)
                self._log.info("%s", line)


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Yield a list to which signals that ask this process to end are added, instead of ending it."""
    told: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        told.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it is meant to go on
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield told
    finally:
        for number in numbers:
            signal.signal(number, before[number])


@atexit.register
def _stop_all() -> None:
    for service in list(_running):
        service.stop()
