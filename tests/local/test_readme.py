"""The tutorial of the README, typed line by line."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.command_line import ROOT, CommandLine

TUTORIAL = re.compile(r"^## Tutorial.*?$(.*?)^## ", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def tutorial_lines() -> list[str]:
    """Return the lines of the tutorial that call `cm`, in order."""
    [tutorial] = TUTORIAL.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = [line for block in CONSOLE.findall(tutorial) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ cm ")]


def test_tutorial_runs_as_written(cm: CommandLine, tmp_path: Path) -> None:
    """Every line of the README's tutorial exits 0, counts the words right, and leaves nothing behind."""
    command = tmp_path / "bin" / "cm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {" ".join(cm.argv())} "$@"\n')
    command.chmod(0o755)
    environment = cm.environment() | {"PATH": f"{command.parent}:{cm.environment()['PATH']}"}
    said: dict[str, str] = {}
    for line in tutorial_lines():
        done = subprocess.run(
            ["bash", "-c", line],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            timeout=600,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}\n{done.stderr}"
        said[line] = done.stdout

    [counted] = [output for line, output in said.items() if "words/out/part-r" in line]
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    top = [line.split("\t") for line in counted.splitlines()]
    assert len(top) == 5
    assert all(words.count(word) == int(count) for word, count in top)
    assert cm("cluster", "list", "-f", "json").stdout.strip() == "[]"
