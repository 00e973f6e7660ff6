"""`cm` in a mount namespace of its own, where this machine lacks what it usually has; nothing outside changes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import Answer, CommandLine


def needs_root() -> None:
    """End the test where its mounts can't be made."""
    if os.geteuid() != 0:
        pytest.skip("mounting over files of this machine needs root")


def cm_with_mounts(cm: CommandLine, mounts: str, *words: str, timeout: float = 300.0) -> Answer:
    """Run `cm WORDS...` after the lines `mounts` of a shell, whose mounts nobody else sees.

    Args:
        cm: what to run, as which user.
        mounts: lines for `sh`, run as root.
        words: the command line.
        timeout: seconds.

    """
    become = ["setpriv", f"--reuid={cm.user}", f"--regid={cm.user}", "--clear-groups"] if cm.user else []
    program = ["unshare", "--mount", "sh", "-ec", f'{mounts}\nexec "$@"', "sh", *become, *cm.argv(*words)]
    done = subprocess.run(
        program,
        env=cm.environment(),
        cwd=Path("/"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Answer(words, done.returncode, done.stdout, done.stderr)
