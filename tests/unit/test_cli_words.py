"""Where `cm`'s own words end and those for the nodes begin, alike in all three modes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cloudmesh_cluster.cli.commands.registry import TREE
from cloudmesh_cluster.cli.main import main
from cloudmesh_cluster.cli.script import run_lines
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.shell import Shell
from cloudmesh_cluster.cli.words import split_words
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CommandResult

Run = Callable[[str], int]

# line, what argparse gets, what the nodes get
LINES = [
    ("cluster cmd t -t worker -- ls -l", "cluster cmd t -t worker", "ls -l"),
    ("cluster cmd t ls -y", "cluster cmd t", "ls -y"),
    ("cluster cmd t -t worker ls -t 5 -- x", "cluster cmd t -t worker", "ls -t 5 -- x"),
    ("cluster cmd -t worker t ls", "cluster cmd -t worker t", "ls"),
    ("cluster cmd -t=worker t -fjson -c exit ls -c", "cluster cmd -t=worker t -fjson -c exit", "ls -c"),
    ("cluster cmd --target=1 t --format json -- -x", "cluster cmd --target=1 t --format json", "-x"),
    ("cluster cmd t --timeout 5s sleep 9", "cluster cmd t --timeout 5s", "sleep 9"),
    ("cluster cmd t --debug ls --debug", "cluster cmd t --debug", "ls --debug"),
    ("cluster cmd t -- -- x", "cluster cmd t", "-- x"),
    ("cluster cmd t - x", "cluster cmd t", "- x"),
    ("cluster cmd t 'ls | wc'", "cluster cmd t", "'ls | wc'"),
    ("cluster cmd t --help", "cluster cmd t --help", ""),
    ("cluster write t master --expect done echo -n x", "cluster write t master --expect done", "echo -n x"),
    ("cluster write t master --no-run -- true --file x", "cluster write t master --no-run", "true --file x"),
    ("cluster write t --file a.sh master", "cluster write t --file a.sh master", ""),
    ("cluster write t worker -- false", "cluster write t worker", "false"),
    ("cluster ssh t -- hostname", "cluster ssh t", "hostname"),
    ("cluster ssh t -t worker-1 uptime", "cluster ssh t -t worker-1", "uptime"),
    ("cluster ssh t -t worker-1 -- ssh -v x", "cluster ssh t -t worker-1", "ssh -v x"),
    ("cluster ssh t", "cluster ssh t", ""),
    ("--debug cluster ssh t ls -l", "--debug cluster ssh t", "ls -l"),
    ("cluster nodes t -f json", "cluster nodes t -f json", ""),
    ("cluster scale t -1", "cluster scale t -1", ""),
]


@pytest.mark.parametrize(("line", "own", "words"), LINES)
def test_split(line: str, own: str, words: str) -> None:
    """Options stand before the first word; from there on everything belongs to the nodes' command."""
    split = split_words(shlex.split(line), TREE)

    assert (split.own, split.words) == (shlex.split(own), shlex.split(words))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], dict[str, Any]]]:
    """What `cmd` asks of the nodes; there are none here."""
    from cloudmesh_cluster.operations import command as operation

    calls: list[tuple[str, list[str], dict[str, Any]]] = []

    async def command(home: Home, name: str, words: Sequence[str], **options: Any) -> list[CommandResult]:
        calls.append((name, list(words), options))
        return [CommandResult("t-master", 7 if "fail" in words else 0, "out\n", "", 0.1)]

    monkeypatch.setattr(operation, "command", command)
    return calls


def one_shot(line: str) -> int:
    """Run a line as the OS's shell would hand it over."""
    return main(shlex.split(line))


def in_script(line: str) -> int:
    """Run a line of a script."""
    return run_lines([line], Session(Home.from_environment(os.environ), os.environ), name="test")


def in_shell(line: str) -> int:
    """Run a line typed into the shell."""
    shell = Shell(Home.from_environment(os.environ))
    shell.onecmd_plus_hooks(line)
    return shell.exit_code


@pytest.fixture(params=[one_shot, in_script, in_shell])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A way to run a line: each of the three."""
    monkeypatch.setenv("CM_HOME", str(tmp_path / "home"))
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("line", "words", "target"),
    [
        ("cluster cmd t -t worker -- ls -l", ["ls", "-l"], "worker"),
        ("cluster cmd t ls -y", ["ls", "-y"], "all"),
        ("cluster cmd t 'ls | wc'", ["ls | wc"], "all"),
        ("cluster cmd t -- sh -c 'echo \"a  b\"; true'", ["sh", "-c", 'echo "a  b"; true'], "all"),
        ('cluster cmd t echo "it\'s" \'say "x"\' a\\ b', ["echo", "it's", 'say "x"', "a b"], "all"),
        ("cluster cmd t -t 0,worker-[1-2] echo ''", ["echo", ""], "0,worker-[1-2]"),
        ("cluster cmd t echo --set=x='a>b' 'it'\"'\"'s'", ["echo", "--set=x=a>b", "it's"], "all"),
    ],
)
def test_words_arrive_alike_in_all_modes(
    run: Run, asked: list[tuple[str, list[str], dict[str, Any]]], line: str, words: list[str], target: str
) -> None:
    """The same line gives the nodes the same words from the OS's shell, a script and the shell of cm."""
    assert run(line) == 0
    assert asked == [("t", words, {"target": target, "timeout": None})]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("cluster list", 0),
        ("cluster list --help", 0),
        ("help cluster create", 0),
        ("cluster", 2),
        ("clster list", 2),
        ("cluster lst", 2),
        ("cluster list -f xml", 2),
        ("cluster list -c nme", 2),
        ("cluster list extra", 2),
        ("cluster list --frmat json", 2),
        ("cluster nodes", 2),
        ("cluster nodes nosuch", 2),
        ("cluster show nosuch", 2),
        ("cluster cmd nosuch", 2),
        ("cluster cmd -- t ls", 2),
        ("cluster cmd t --timeout soon ls", 2),
        ("cluster cmd t fail", 1),
        ("cluster ssh nosuch", 2),
        ("cluster create T", 2),
        ("cluster create t -n 0", 2),
        ("cluster create t -n -1", 2),
        ("cluster create t -n two", 2),
        ("cluster create t -p nosuch", 2),
        ("cluster create t --provider nosuch", 2),
        ("cluster create t --on-failure explode", 2),
        ("cluster delete nosuch", 2),
        ("cluster resume nosuch", 2),
        ("cluster history nosuch", 2),
        ("cluster write t master --file /nonexistent", 2),
        ("cluster write t master --file /dev/null", 2),
        ("profile show nosuch", 2),
        ("profile validate /nonexistent", 2),
        ("plugin show nosuch", 2),
        ("completion tcsh", 2),
        ("run_script /nonexistent", 2),
    ],
)
def test_exit_codes_are_alike_in_all_modes(run: Run, asked: list[Any], line: str, code: int) -> None:
    """The exit code of a line is that of the contract, wherever it is typed."""
    assert run(line) == code
