"""The tutorials of the documentation, typed line by line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.command_line import ROOT, CommandLine
from tests.support.pages import section, shown_files, typed_lines
from tests.support.plugin_folder import write_plugin


@pytest.fixture
def typed(cm: CommandLine, tmp_path: Path) -> CommandLine:
    """Return `cm` with a folder on its path in which `cm` is a command, as it is for a reader."""
    command = tmp_path / "bin" / "cm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {" ".join(cm.argv())} "$@"\n')
    command.chmod(0o755)
    return CommandLine(cm.home, cm.cache, environ={"PATH": f"{command.parent}:{cm.environment()['PATH']}"})


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


def test_tutorial_runs_as_written(typed: CommandLine) -> None:
    """Every line of the tutorial exits 0, counts the words right, and leaves nothing behind."""
    lines = typed_lines(section(ROOT / "docs" / "tutorial.md", "Tutorial"))

    said = type_lines(typed, [line for line in lines if line.startswith("cm ")])

    [counted] = [output for line, output in said.items() if "words/out/part-r" in line]
    words = (ROOT / "LICENSE").read_text(encoding="utf-8").split()
    top = [line.split("\t") for line in counted.splitlines()]
    assert len(top) == 5
    assert all(words.count(word) == int(count) for word, count in top)
    assert typed("cluster", "list", "-f", "json").stdout.strip() == "[]"


def test_plugin_of_the_walk_through_runs(typed: CommandLine) -> None:
    """The plugin that docs/plugins.md builds installs, passes its checks and answers from a worker."""
    page = ROOT / "docs" / "plugins.md"
    write_plugin(typed.home, "redis", shown_files(page))

    said = type_lines(typed, typed_lines(section(page, "A plugin of your own")))

    [answer] = [output for line, output in said.items() if "redis-cli" in line]
    assert "works" in answer
