"""`demo.sh` in every state that it may find its cluster in; a stand-in for `cm` notes what it is asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import ROOT

CM = """\
#!/bin/bash
cd "$(dirname "$0")"
case "$2" in
  list) state=$(<state); [[ -z $state ]] && echo '[]' || echo '[{"name": "hadoop", "state": "'"$state"'"}]' ;;
  resume) cp resumed state ;;&
  *) echo "$2" >>asked ;;
esac
"""


@pytest.mark.parametrize(
    ("state", "resumed", "asked"),
    [
        ("", "", ["create"]),
        ("ready", "", ["verify"]),
        ("stopped", "", ["start", "verify"]),
        ("degraded", "", ["start", "verify"]),
        ("failed", "ready", ["resume", "verify"]),
        ("interrupted", "", ["resume", "create"]),
    ],
)
def test_the_demo_ends_with_a_proven_cluster(tmp_path: Path, state: str, resumed: str, asked: list[str]) -> None:
    """Whatever state the cluster is in, also in the middle of a delete, the demo asks for what makes it ready."""
    shutil.copy(ROOT / "demo.sh", tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "state").write_text(state)
    (programs / "resumed").write_text(resumed)
    (programs / "cm").write_text(CM)
    (programs / "cm").chmod(0o755)
    subprocess.run([tmp_path / "demo.sh"], check=True, capture_output=True, timeout=30)

    assert asked == (programs / "asked").read_text().split()
