"""The benchmarks can be started; what they measure is no test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import run, scale
from benchmarks.measured import BenchmarkFailed, median_of, table
from benchmarks.measured import run as measured

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["run", "scale"])
def test_help(name: str) -> None:
    """Each benchmark explains itself, and refuses what it doesn't know."""
    answer, refused = (
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", word], cwd=ROOT, capture_output=True, text=True)
        for word in ("--help", "--wrong")
    )

    assert (answer.returncode, refused.returncode) == (0, 2)
    assert "--nodes" in answer.stdout
    assert "--json" in answer.stdout


def test_arguments() -> None:
    """Without arguments it is 64 nodes on 2 cores."""
    args = scale.parser().parse_args([])

    assert (args.nodes, args.cores, args.json) == (64, 2, None)
    assert run.parser().parse_args(["--only", "cmd", "--only", "put"]).only == ["cmd", "put"]


def test_missed_bound_shows() -> None:
    """A figure above its bound is not kept, and the table says so."""
    bounds = (scale.Bound("a", 1.0, 2.0, "s"), scale.Bound("b", 3.0, 2.0, "s"))
    text = scale.Report("here", 4, (scale.Part("all", 1.0, 2.0),), {"wire": 0.5}, bounds).text()

    assert [bound.kept for bound in bounds] == [True, False]
    assert [line.split()[-1] for line in text.splitlines()[-2:]] == ["yes", "NO"]


def test_program_is_measured() -> None:
    """Seconds, CPU and memory are those of the program; another exit status is a failure with its last words."""
    done = measured([sys.executable, "-c", "x = bytearray(80 << 20); print(sum(range(10**6)))"])

    assert done.stdout == "499999500000\n"
    assert 0 < done.cpu
    assert done.peak_mb > 80
    with pytest.raises(BenchmarkFailed, match="exit 3.*\n.*why"):
        measured([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"])


def test_median_is_a_run() -> None:
    """The run of the median time is returned; of two, the faster one."""
    seconds = iter([3.0, 1.0, 2.0, 5.0, 4.0])
    once = measured([sys.executable, "-c", ""])

    def make() -> object:
        return type(once)(next(seconds), once.cpu, once.peak_mb, "", "")

    assert median_of(3, make).seconds == 2.0  # type: ignore[arg-type]
    assert median_of(2, make).seconds == 4.0  # type: ignore[arg-type]


def test_table_is_aligned() -> None:
    """Numbers stand to the right, words to the left."""
    assert table(("what", "s"), [("a", 1.0), ("long name", 12.5)]) == (
        "what           s\n---------  -----\na           1.00\nlong name  12.50"
    )
