"""`cm` starts quickly, and says what it is in every way of calling it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cloudmesh_cluster import __version__
from cloudmesh_cluster.cli.commands.registry import TREE
from cloudmesh_cluster.cli.dispatch import run
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, Parser, build
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from tests.support.command_line import CommandLine

SLOW = ("cmd2", "prompt_toolkit", "rich", "asyncssh", "asyncio", "cryptography", "yaml", "jinja2", "openstack")
COUNT_IMPORTS = f"""
import sys
from cloudmesh_cluster.cli.main import main
code = main(sys.argv[1:])
print(code, *(name for name in {SLOW} if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("cluster", "list"),
        ("cluster", "list", "-f", "json"),
        ("cluster", "create", "--help"),
        ("clster",),
        ("__complete", "cluster", "show", ""),
    ],
)
def test_light_commands_import_nothing_slow(cm: CommandLine, words: tuple[str, ...]) -> None:
    """What only looks at local state imports no SSH, no shell, no YAML and no asyncio."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT_IMPORTS, *words], env=cm.environment(), capture_output=True, text=True, check=True
    )

    assert done.stderr.splitlines()[-1] in ("0", "2")


def test_the_interactive_shell_alone_imports_cmd2(cm: CommandLine) -> None:
    """The control of the test above: the same probe does find cmd2 where it is used."""
    code = COUNT_IMPORTS.replace("code =", "import cloudmesh_cluster.cli.shell; code =")
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], env=cm.environment(), capture_output=True, text=True, check=True
    )

    assert "cmd2" in done.stderr


def test_version(cm: CommandLine) -> None:
    """`cm --version` prints the version of the package."""
    assert cm("--version").stdout == f"cm {__version__}\n"


@pytest.mark.parametrize("command", TREE.commands, ids=lambda command: str(command.name))
def test_every_command_explains_itself(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of each command has its line, its examples, and a help text for each argument."""
    assert all(each.options.get("help") for each in command.all_arguments)
    with pytest.raises(SystemExit) as done:
        build(TREE, Parser).parse_args([*command.name.split(), "--help"])
    said = " ".join(capsys.readouterr().out.split())

    assert done.value.code == 0
    assert command.help in said
    assert all(" ".join(f"cm {example}".split()) in said for example in command.examples)


def test_rows_have_formats_and_columns() -> None:
    """Each command with columns takes `-f` and `--column`; `-c` is conda's channel where there is one."""
    for command in TREE.commands:
        flags = {flag for each in command.all_arguments for flag in each.flags}
        assert {"-f", "--column"} <= flags or not command.columns


def test_mistyped_commands_get_a_hint(cm: CommandLine) -> None:
    """An unknown command, action or option is exit 2 with the closest that exists."""
    assert "did you mean 'cluster'?" in cm("clster", "list", expect=2).stderr
    assert "did you mean 'list'?" in cm("cluster", "lst", expect=2).stderr
    assert "did you mean '--format'?" in cm("cluster", "list", "--formt", "json", expect=2).stderr


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("list", "cm cluster list"),
        ("ssh t", "cm cluster ssh"),
        ("rm t", "cm cluster delete"),
        ("cluster destroy t", "cm cluster delete"),
        ("cluster login t", "cm cluster ssh"),
        ("cluster exec t ls", "cm cluster cmd"),
        ("cluster copy t x", "cm cluster put"),
        ("cluster resize t 3", "cm cluster scale"),
        ("cluster logs t", "cm cluster report"),
        ("plugin install hadoop", "cm cluster install"),
        ("--verison", "--version"),
    ],
)
def test_words_of_other_tools_lead_to_ours(line: str, meant: str) -> None:
    """Who types what another tool calls it, or leaves out `cluster`, is told the command."""
    with pytest.raises(UsageError) as refused:
        run(line.split(), Session(Home(Path("/nonexistent"), Path("/nonexistent")), {}))

    assert refused.value.hint == f"did you mean '{meant}'?"


def test_a_reader_that_goes_away_is_no_error(cm: CommandLine) -> None:
    """`cm ... | head -1` prints no traceback and exits as a program that SIGPIPE ended."""
    line = f"{sys.executable} -m cloudmesh_cluster cluster create --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=cm.environment(), capture_output=True, text=True, check=True)

    assert done.stdout.strip() in ("0", "141")
    assert done.stderr == ""


def test_debug_shows_the_traceback(cm: CommandLine) -> None:
    """`--debug` shows where an error comes from, before or after the command; without it nothing of Python is seen."""
    assert "Traceback" in cm("--debug", "cluster", "show", "nosuch", expect=2).stderr
    assert "Traceback" in cm("cluster", "show", "nosuch", "--debug", expect=2).stderr
    assert "Traceback" not in cm("cluster", "show", "nosuch", expect=2).stderr


def test_the_package_is_a_program(cm: CommandLine, tmp_path: Path) -> None:
    """`python -m cloudmesh_cluster` with a script that is empty does nothing and is content."""
    answer = cm(stdin="", cwd=tmp_path)

    assert (answer.stdout, answer.stderr) == ("", "")
