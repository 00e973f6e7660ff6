"""A program under a real pseudo-terminal: what a person sees, and typing."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>()][A-Z0-9]?|\r")


class Terminal:
    """A program with a terminal of its own."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        # prompt-toolkit would wait for the answer of a real terminal.
        settings = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "COLUMNS": "120", "LINES": "40"}
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env={**environ, **settings}, start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Type text; a newline is the Enter key."""
        os.write(self._master, text.replace("\n", "\r").encode())

    def expect(self, text: str, *, within: float = 20.0) -> str:
        """Wait until `text` is seen after what was expected before, and return what came with it."""
        deadline = time.monotonic() + within
        while text not in self.seen:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{text!r} was not seen, but: {self.seen!r}")
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def end(self, *, within: float = 20.0) -> int:
        """Wait for the program's end and return its exit code."""
        deadline = time.monotonic() + within
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.1)
        return self.process.wait(timeout=max(deadline - time.monotonic(), 0.1))

    def _read(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program is gone
            return False
        self.seen += _ESCAPES.sub("", data.decode(errors="replace"))
        return True


def cm_argv(*words: str) -> list[str]:
    """Return the command line of `cm` in this interpreter."""
    return [sys.executable, "-m", "cloudmesh_cluster", *words]
