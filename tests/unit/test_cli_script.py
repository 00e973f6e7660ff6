"""Scripts of `cm` lines: piped, or by `run_script`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

LIST = "name  state  provider  profile  nodes  created_at  verified\n"


def test_a_piped_script_runs_line_by_line(cm: CommandLine) -> None:
    """Comments and empty lines say nothing; a backslash joins lines; `quit` ends the script."""
    answer = cm(stdin="# first\n\ncluster list\n  # more\ncluster \\\n  list -f \\\njson\nquit\nnosuch\n")

    assert (answer.stdout, answer.stderr) == (LIST + "[]\n", "")


@pytest.mark.parametrize(
    ("script", "code", "line"),
    [
        ("cluster list\ncluster show nosuch\ncluster list\n", 2, 2),
        ("\n\n# c\nnosuch\n", 2, 4),
        ("cluster list -f \\\n xml\n", 2, 1),
        ("cluster list <<EOF\nx\nEOF\n", 2, 1),
        ("cluster list >\n", 2, 1),
        ("cluster list 'a\n", 2, 1),
        ("cluster list\ncluster write t master <<EOF\ntrue\n", 2, 2),
    ],
)
def test_a_script_stops_at_the_first_failing_line(cm: CommandLine, script: str, code: int, line: int) -> None:
    """It exits with that line's code, names the line's number, and runs nothing after it."""
    answer = cm(stdin=script, expect=code)

    assert f"standard input:{line}:" in answer.stderr
    assert answer.stdout.count(LIST) == script[: script.find("nosuch")].count("cluster list\n")


def test_run_script_is_the_same_from_a_file(cm: CommandLine, tmp_path: Path) -> None:
    """`cm run_script FILE` behaves as `cm < FILE`, and scripts may call scripts."""
    (tmp_path / "inner.cm").write_text("cluster list\ncluster nodes nosuch\n")
    (tmp_path / "outer.cm").write_text(f"run_script {tmp_path}/inner.cm\ncluster list\n")

    answer = cm("run_script", str(tmp_path / "outer.cm"), expect=2)

    assert answer.stdout == LIST
    assert "inner.cm:2: cluster nodes nosuch" in answer.stderr
    assert "outer.cm:1: run_script" in answer.stderr


def test_output_goes_where_a_line_says(cm: CommandLine, tmp_path: Path) -> None:
    """`>`, `>>` and `|` work in scripts as in the shell; quoted they are words."""
    out = tmp_path / "out file"
    script = f"cluster list -f json > '{out}'\ncluster list -f csv >> '{out}'\ncluster list | tr a-z A-Z | cut -c1-4\n"

    assert cm(stdin=script).stdout == "NAME\n"
    assert out.read_text() == "[]\nname,state,provider,profile,nodes,created_at,verified,checks,failed_checks\n"


def test_an_unwritable_output_is_refused_before_anything_is_done(cm: CommandLine) -> None:
    """A redirection that cannot be opened is exit 2."""
    answer = cm(stdin="cluster list > /nonexistent/x\n", expect=2)

    assert "/nonexistent/x: No such file or directory" in answer.stderr
    assert answer.stdout == ""


def test_a_pager_that_ends_early_is_no_failure(cm: CommandLine) -> None:
    """What stands behind `|` may stop reading."""
    assert cm(stdin="cluster create --help | true\ncluster list -f json\n").stdout == "[]\n"


def test_standard_input_is_the_script_itself(cm: CommandLine) -> None:
    """`cluster write` in a script does not swallow the lines after it: it wants a here-document or a file."""
    answer = cm(stdin="cluster write t master\ncluster list\n", expect=2)

    assert "no script was given" in answer.stderr
    assert answer.stdout == ""


def test_a_script_is_no_utf8(cm: CommandLine, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are an unknown command, not a traceback."""
    (tmp_path / "x.cm").write_bytes(b"\xff\xfe\n")

    assert "unknown command" in cm("run_script", str(tmp_path / "x.cm"), expect=2).stderr
