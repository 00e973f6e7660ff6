"""The interactive shell, under a real terminal and line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster.cli.shell import Shell
from cloudmesh_cluster.core.home import Home
from tests.support.command_line import CommandLine
from tests.support.journalled import add_cluster
from tests.support.terminal import Terminal

PROMPT = "cm>"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that knows the cluster `t`."""
    home = Home(tmp_path / "home", tmp_path / "cache")
    add_cluster(home, "t")
    return home


@pytest.fixture
def terminal(home: Home) -> Iterator[Terminal]:
    """`cm` alone on a terminal."""
    command_line = CommandLine(home.root, home.cache)
    with Terminal(command_line.argv(), command_line.environment()) as terminal:
        terminal.expect(PROMPT)
        yield terminal


def test_lines_are_typed_and_answered(terminal: Terminal) -> None:
    """A line is run, its answer shown, and `quit` leaves with the code of the last line."""
    terminal.type("cluster show t -f value -c provider -c profile\n")
    terminal.expect("local\ndefault\n")
    terminal.type("quit\n")

    assert terminal.end() == 0


def test_a_failing_line_does_not_end_the_shell(terminal: Terminal) -> None:
    """An error is told in the words of one-shot `cm`; the next line runs; the code of the last one is the shell's."""
    terminal.type("clster list\n")
    terminal.expect("unknown command 'clster'")
    terminal.expect("did you mean 'cluster'?")
    terminal.type("cm cluster list -f value -c name\n")
    terminal.expect("\nt\n")
    terminal.type("cluster nodes nosuch\n")
    terminal.expect("no cluster named 'nosuch'")
    terminal.type("quit\n")

    assert terminal.end() == 2


def test_end_of_file_leaves(terminal: Terminal) -> None:
    """Ctrl-D at the prompt leaves."""
    terminal.type("\x04")

    assert terminal.end() == 0


def test_tab_completes_names_of_local_state(terminal: Terminal) -> None:
    """Tab completes a command, and the node of the cluster that the line names."""
    terminal.type("cluster no\t")
    terminal.expect("des")
    terminal.type("t -f value -c na\t")
    terminal.expect("me")
    terminal.type("\n")
    terminal.expect("t-master\n")
    terminal.type("cluster ssh t -t wor\t")
    terminal.expect("ker-")


def test_here_documents_are_typed_over_several_rows(terminal: Terminal, tmp_path: Path) -> None:
    """Rows are read until the delimiter; quotes in them are only text."""
    terminal.type("cluster write nosuch master <<EOF\n")
    terminal.type("echo it's\n\n")
    terminal.type("EOF\n")
    terminal.expect("no cluster named 'nosuch'")
    terminal.type("cluster list -f value -c name\n")
    terminal.expect("\nt\n")


def test_output_is_redirected(terminal: Terminal, tmp_path: Path) -> None:
    """An unquoted `|` or `>` takes the output of `cm`, as cmd2's users expect."""
    terminal.type(f"cluster list -f json > {tmp_path}/out\n")
    terminal.type("cluster list -f csv | tr a-z A-Z\n")
    terminal.expect("NAME,STATE")

    assert json.loads((tmp_path / "out").read_text())[0]["name"] == "t"


def test_lines_are_remembered(terminal: Terminal, home: Home) -> None:
    """The next shell knows the lines of this one; only the owner can read them."""
    terminal.type("cluster list -f csv\n")
    terminal.expect("name,state")
    terminal.type("quit\n")
    assert terminal.end() == 0

    assert home.history_file.exists()
    assert home.root.stat().st_mode & 0o777 == 0o700
    command_line = CommandLine(home.root, home.cache)
    with Terminal(command_line.argv(), command_line.environment()) as again:
        again.expect(PROMPT)
        again.type("\x1b[A\x1b[A\n")  # the last line is `quit`
        again.expect("name,state")


def test_delete_asks_on_a_terminal(home: Home) -> None:
    """`delete` asks, and takes everything but yes for no."""
    command_line = CommandLine(home.root, home.cache)
    with Terminal(command_line.argv("cluster", "delete", "t"), command_line.environment()) as terminal:
        terminal.expect("Delete t with everything on the nodes? [y/N]")
        terminal.type("\n")
        terminal.expect("nothing was done")

        assert terminal.end() == 2


def test_delete_asks_in_the_shell_too(terminal: Terminal) -> None:
    """The shell's own line editing does not stand in the way of the question."""
    terminal.type("cluster delete t\n")
    terminal.expect("[y/N]")
    terminal.type("no\n")
    terminal.expect("nothing was done")
    terminal.type("cluster list -f value -c name\n")
    terminal.expect("\nt\n")


def test_delete_without_a_terminal_needs_a_yes(home: Home) -> None:
    """Where nobody can be asked, `delete` without `-y` is exit 2 and deletes nothing."""
    command_line = CommandLine(home.root, home.cache)

    assert "-y" in command_line("cluster", "delete", "t", expect=2).stderr
    assert command_line("cluster", "list", "-f", "value", "-c", "name").stdout == "t\n"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("cluster list", 0),
        ("cluster show t ; ls", 2),
        ("cluster show t # comment", 2),
        ("cluster list 'a\nb'", 2),
        ("cluster list >", 2),
        ("cluster list > /nonexistent/x", 2),
        ("cluster list <<EOF\nx\nEOF", 2),
        ("cluster write t master < /nonexistent", 2),
        ("cluster write t master", 2),
        ("nosuch", 2),
        ("set nosuch 1", 0),
        ("history --nosuch", 2),
        ("help cluster create", 0),
        ("cluster create --help", 0),
        ("# a comment", 0),
        ("", 0),
    ],
)
def test_exit_codes_line_by_line(home: Home, line: str, code: int) -> None:
    """Each line has its exit code, which cmd2 by itself would drop."""
    shell = Shell(home)
    shell.onecmd_plus_hooks("cluster list > /dev/null")
    assert shell.exit_code == 0
    shell.onecmd_plus_hooks(line)

    assert shell.exit_code == code


def test_the_last_result_is_plain_data(home: Home) -> None:
    """What a line answers is there for Python scripts as lists and dictionaries."""
    shell = Shell(home)
    shell.onecmd_plus_hooks("cluster nodes t > /dev/null")

    assert [row["name"] for row in shell.last_result] == ["t-master", "t-worker-1", "t-worker-2"]


def test_run_script_runs_lines_of_cm(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`run_script` and `@` in the shell run a script as one-shot `cm` does, here-documents included."""
    script = "cluster list -f value -c name\ncluster write nosuch all <<E\ntrue\nE\ncluster list\n"
    (tmp_path / "x.cm").write_text(script)
    shell = Shell(home)
    shell.onecmd_plus_hooks(f"run_script {tmp_path}/x.cm")
    first = capsys.readouterr()
    shell.onecmd_plus_hooks(f"@{tmp_path}/x.cm")
    second = capsys.readouterr()

    assert shell.exit_code == 2
    assert first == second
    assert first.out == "t\n"
    assert "x.cm:2: cluster write nosuch all" in first.err
