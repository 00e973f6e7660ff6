"""`demo.sh` in every state that it may find its cluster in; a stand-in for `cm` notes what it is asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import ROOT

CM = """\
#!/bin/bash
cd "$(dirname "$0")"
case "$2" in
  fetch) [[ ! -e unreachable ]] ;;
  list) state=$(<state); [[ -z $state ]] && echo '[]' || echo '[{"name": "hadoop", "state": "'"$state"'"}]' ;;
  resume) cp resumed state ;;&
  *) echo "$2" >>asked ;;
esac
"""


def stand_in(folder: Path, state: str) -> Path:
    """Lay out the demo with a stand-in for `cm`, and return the folder of programs."""
    shutil.copy(ROOT / "demo.sh", folder)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "state").write_text(state)
    (programs / "cm").write_text(CM)
    (programs / "cm").chmod(0o755)
    return programs


@pytest.mark.parametrize(
    ("state", "resumed", "asked"),
    [
        ("", "", ["create"]),
        ("ready", "", ["verify"]),
        ("stopped", "", ["start", "verify"]),
        ("degraded", "", ["start", "verify"]),
        ("unhealthy", "", ["start", "verify"]),
        ("failed", "ready", ["resume", "verify"]),
        ("interrupted", "", ["resume", "create"]),
    ],
)
def test_the_demo_ends_with_a_proven_cluster(tmp_path: Path, state: str, resumed: str, asked: list[str]) -> None:
    """Whatever state the cluster is in, also in the middle of a delete, the demo asks for what makes it ready."""
    programs = stand_in(tmp_path, state)
    (programs / "resumed").write_text(resumed)
    subprocess.run([tmp_path / "demo.sh"], check=True, capture_output=True, timeout=30)

    assert asked == (programs / "asked").read_text().split()


def test_the_demo_shows_spark_where_hadoop_can_not_be_had(tmp_path: Path) -> None:
    """It says so, and goes on with the other one."""
    programs = stand_in(tmp_path, "")
    (programs / "unreachable").touch()
    (programs / "cm").write_text(CM.replace('echo "$2" >>asked', 'echo "$2 $3" >>asked'))
    said = subprocess.run([tmp_path / "demo.sh"], check=True, capture_output=True, text=True, timeout=30).stdout

    assert (programs / "asked").read_text() == "create spark\n"
    assert "No source of Hadoop can be reached" in said
    assert "spark-submit" in said
