"""Types lines of the documentation into a shell in which `cm` is a command, as it is for a reader."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.support.command_line import ROOT, CommandLine


def with_cm_on_path(cm: CommandLine, folder: Path) -> CommandLine:
    """Return `cm` with an environment in which typed lines find it; `folder` is made for that."""
    command = folder / "cm"
    folder.mkdir()
    command.write_text(f'#!/bin/sh\nexec {" ".join(cm.argv())} "$@"\n')
    command.chmod(0o755)
    return CommandLine(cm.home, cm.cache, environ={"PATH": f"{folder}:{cm.environment()['PATH']}"})


def type_lines(cm: CommandLine, lines: Iterable[str]) -> dict[str, str]:
    """Type lines into a shell, each of which must succeed; return what each printed."""
    said = {}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line],
            env=cm.environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            timeout=600,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}\n{done.stderr}"
        said[line] = done.stdout
    return said
