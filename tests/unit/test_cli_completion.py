"""What Tab completes, in real shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cloudmesh_cluster.cli.commands.registry import TREE
from cloudmesh_cluster.cli.completion import offer
from cloudmesh_cluster.core.home import Home
from tests.support.command_line import CommandLine
from tests.support.journalled import add_cluster


@pytest.fixture(scope="module")
def two_clusters(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A home in which the clusters `hadoop` and `t` are known."""
    root = tmp_path_factory.mktemp("two")
    home = Home(root / "home", root / "cache")
    add_cluster(home, "hadoop", workers=1)
    add_cluster(home, "t")
    return CommandLine(home.root, home.cache)


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ([""], ["cluster", "profile", "completion", "--help"], ["create"]),
        (["cl"], ["cluster"], ["profile"]),
        (["cluster", ""], ["create", "write", "cmd"], ["cluster"]),
        (["cluster", "wr"], ["write"], ["verify"]),
        (["cluster", "show", ""], ["hadoop", "t"], ["t-master"]),
        (["cluster", "show", "t", ""], [], ["hadoop", "t"]),
        (["cluster", "delete", "t", ""], ["hadoop"], ["t"]),
        (["cluster", "show", "-f", ""], ["json", "table"], ["t"]),
        (["cluster", "show", "-c", "cre"], ["created_at"], ["name"]),
        (["cluster", "show", "--fo"], ["--format"], ["--column"]),
        (["cluster", "show", "-f", "json", ""], ["t"], ["json"]),
        (["cluster", "ssh", "t", "-t", ""], ["master", "worker-1", "worker-2"], ["worker", "all"]),
        (["cluster", "ssh", "hadoop", "-t", "w"], ["worker-1"], ["worker-2"]),
        (["cluster", "cmd", "t", "-t", ""], ["master", "worker-2", "worker", "all", "head"], []),
        (["cluster", "cmd", "-t", "worker", ""], ["t"], ["worker-1"]),
        (["cluster", "write", "t", ""], ["all", "master", "worker"], ["t"]),
        (["cluster", "write", "t", "worker", "--on-failure", ""], ["undo", "rebuild", "keep"], []),
        (["cluster", "create", "x", "-p", ""], ["default", "hadoop"], []),
        (["cluster", "create", "x", "--provider", ""], ["local"], []),
        (["cluster", "replace", "t", ""], ["worker-1"], ["all"]),
        (["profile", "show", ""], ["hadoop"], []),
        (["completion", ""], ["bash", "zsh", "fish"], []),
        (["nosuch", ""], [], ["cluster"]),
        (["cluster", "cmd", "t", "ls", "-"], [], ["-f", "--target"]),
    ],
)
def test_offers(two_clusters: CommandLine, line: list[str], some: list[str], none: list[str]) -> None:
    """Commands, options and names of local state are offered where they fit, and nowhere else."""
    offered = offer(line, TREE, Home(two_clusters.home, two_clusters.cache)).words

    assert set(some) <= set(offered)
    assert not set(none) & set(offered)


@pytest.mark.parametrize(
    ("line", "files"),
    [
        (["cluster", "write", "t", "master", "--file", ""], True),
        (["cluster", "put", "t", ""], True),
        (["cluster", "verify", "t", "--junit", "x"], True),
        (["cluster", "cmd", "t", "ls", ""], True),
        (["cluster", "create", "x", "-p", "./"], True),
        (["cluster", "show", ""], False),
        (["cluster", "put", "t", "x", ""], False),
    ],
)
def test_files_are_offered_where_a_file_is_wanted(cm: CommandLine, line: list[str], files: bool) -> None:
    """File names are completed for files of this machine only."""
    assert offer(line, TREE, Home(cm.home, cm.cache)).files is files


def test_asking_makes_no_home(tmp_path: Path) -> None:
    """Completion in a home that does not exist offers no cluster, and leaves nothing behind."""
    assert offer(["cluster", "show", ""], TREE, Home(tmp_path / "home", tmp_path / "cache")).words == {}
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def path_with_cm(two_clusters: CommandLine, tmp_path: Path) -> dict[str, str]:
    """An environment in which `cm` is a command."""
    program = tmp_path / "bin" / "cm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{two_clusters.python}" -m cloudmesh_cluster "$@"\n')
    program.chmod(0o755)
    environ = two_clusters.environment()
    return {**environ, "PATH": f"{program.parent}:{environ['PATH']}"}


BASH = """
source <(cm completion bash)
COMP_WORDS=({words}) COMP_CWORD=$(( {count} - 1 ))
_cm_complete cm
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["cm", "cluster", "sh"], ["show"]),
        (["cm", "cluster", "show", ""], ["hadoop", "t"]),
        (["cm", "cluster", "show", "h"], ["hadoop"]),
        (["cm", "cluster", "ssh", "t", "-t", "worker-"], ["worker-1", "worker-2"]),
        (["cm", "completion", "b"], ["bash"]),
        (["cm", "cluster", "write", "t", "master", "--file", "my s"], ["my script.sh"]),
    ],
)
def test_bash_completes(path_with_cm: dict[str, str], tmp_path: Path, words: list[str], expected: list[str]) -> None:
    """In a real bash the printed function fills COMPREPLY, file names with blanks included."""
    (tmp_path / "my script.sh").touch()
    quoted = " ".join(f"'{word}'" for word in words)
    script = BASH.format(words=quoted, count=len(words))
    done = subprocess.run(
        ["bash", "--norc", "-euo", "pipefail", "-c", script], env=path_with_cm, cwd=tmp_path, text=True,
        capture_output=True, check=False,
    )  # fmt: skip

    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


def test_bash_knows_the_function(path_with_cm: dict[str, str]) -> None:
    """Sourcing the printed text binds it to `cm`."""
    done = subprocess.run(
        ["bash", "--norc", "-c", "source <(cm completion bash); complete -p cm"],
        env=path_with_cm, text=True, capture_output=True, check=True,
    )  # fmt: skip

    assert "-F _cm_complete cm" in done.stdout


ZSH = """
autoload -Uz compinit; compinit -u -d "$HOME/.zcompdump"
source <(cm completion zsh)
compadd() {{ :; }}
_describe() {{ print -rl -- "${{(@)found}}" }}
_files() {{ print files }}
words=({words}) CURRENT={count}
_cm
print bound to $_comps[cm]
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(path_with_cm: dict[str, str], tmp_path: Path) -> None:
    """In a real zsh the printed function is bound to `cm` and offers names with what they are."""
    script = ZSH.format(words="cm cluster show ''", count=4)
    done = subprocess.run(
        ["zsh", "-f", "-c", script], env={**path_with_cm, "HOME": str(tmp_path)}, text=True, capture_output=True,
        check=False,
    )  # fmt: skip

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "hadoop:ready, default on local", "t:ready, default on local", "bound to _cm",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cm cluster sh", ["show\tshow one cluster"]),
        ("cm cluster show ", ["hadoop\tready, default on local", "t\tready, default on local"]),
        ("cm cluster ssh t -t worker-", ["worker-1\trunning", "worker-2\trunning"]),
        ("cm cluster write t master --file my", ["my script.sh"]),
    ],
)
def test_fish_completes(path_with_cm: dict[str, str], tmp_path: Path, line: str, expected: list[str]) -> None:
    """A real fish that has read the printed function offers names with what they are, and files."""
    (tmp_path / "my script.sh").touch()
    done = subprocess.run(
        ["fish", "--no-config", "-c", "cm completion fish | source; complete -C $argv[1]", line],
        env={**path_with_cm, "HOME": str(tmp_path)}, cwd=tmp_path, text=True, capture_output=True, check=False,
    )  # fmt: skip

    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
