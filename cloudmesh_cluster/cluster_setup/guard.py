"""Runs one program and leaves nothing of it: `python guard.py PARENT GRACE FOLDER PROGRAM WORD...`.

A scheduler or worker must not outlive whoever started it, however that one ends: also by `kill -9`, and also when the
program has started others, as a Spark worker does. So this small process stands between them. It ends the program when
it is told to (SIGTERM) or its parent has gone, and then everything that the program has left behind, its folder (if
FOLDER is not empty) included.

Standard library only, and no import of this package: it must start quickly and stay small.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from pathlib import Path

LOOK = 0.5  # seconds between two looks at the parent
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main() -> int:
    """Run the program to its end, and return its exit status as a shell would give it."""
    parent, grace, folder, words = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans of the program become children of this process
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *_STOPS})
    program = _start(words)
    status = _wait(program, parent)
    left = _end_all(program, grace)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    code = os.waitstatus_to_exitcode(left if status is None else status)
    return code if code >= 0 else 128 - code


def _start(words: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.execvp(words[0], words)
    except OSError as error:
        sys.stderr.write(f"{words[0]}: {error.strerror}\n")
    os._exit(127)


def _wait(program: int, parent: int) -> int | None:
    """Wait until the program has ended, and return its status; None when it is to be ended."""
    while True:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == program:
                return ended[1]
        told = signal.sigtimedwait({signal.SIGCHLD, *_STOPS}, LOOK)
        if (told is not None and told.si_signo in _STOPS) or os.getppid() != parent:
            return None


def _end_all(program: int, grace: float) -> int:
    """End all children, first politely, and return the program's status (0 if it was known before)."""
    status, asked, deadline = 0, set[int](), time.monotonic() + grace
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                status = ended[1] if ended[0] == program else status
        if not (children := _children()):
            return status
        patient = time.monotonic() < deadline
        for pid in children if not patient else children - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if patient else signal.SIGKILL)
        asked |= children
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)


def _children() -> set[int]:
    return {int(pid) for pid in Path("/proc/thread-self/children").read_text(encoding="ascii").split()}


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
