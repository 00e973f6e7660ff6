"""`cm cluster ssh`: the system's ssh, with the right words and the remote code, in all modes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from tests.support.command_line import SYSTEM_PATH, CommandLine
from tests.support.journalled import add_cluster
from tests.support.terminal import Terminal

RECORDING_SSH = """\
#!/bin/sh
printf '<%s>' "$@"
echo
[ -t 0 ] && echo terminal || { printf 'input:'; cat; }
exit 7
"""


@pytest.fixture
def ssh_cm(tmp_path: Path) -> CommandLine:
    """`cm` with a cluster in its journal, and an `ssh` that tells what it was given and exits 7."""
    home = Home(tmp_path / "home", tmp_path / "cache")
    add_cluster(home, "t")
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(RECORDING_SSH)
    program.chmod(0o755)
    return CommandLine(home.root, home.cache, environ={"PATH": f"{program.parent}:{SYSTEM_PATH}"})


LINES = [
    ("cluster ssh t -- hostname", "<t-master><--><hostname>"),
    ("cluster ssh t -t worker-1 uptime", "<t-worker-1><--><uptime>"),
    ("cluster ssh t -t 2 'cd /tmp && ls -y'", "<t-worker-2><--><cd /tmp && ls -y>"),
    ("cluster ssh t ls -t x", "<t-master><--><ls -t x>"),
    ("cluster ssh t echo 'a  b' \"it's\"", "<t-master><--><echo 'a  b' 'it'\"'\"'s'>"),
    ("cluster ssh t", "<t-master>"),
]


@pytest.mark.parametrize(("line", "given"), LINES)
def test_ssh_gets_the_words_and_gives_its_code(ssh_cm: CommandLine, line: str, given: str) -> None:
    """One-shot and in a script ssh is called alike, and its exit code is that of `cm`."""
    import shlex

    one_shot = ssh_cm(*shlex.split(line), stdin="typed", expect=7)
    script = ssh_cm(stdin=f"{line}\ncluster list\n", expect=7)

    config = f"<-F><{ssh_cm.home}/clusters/t/ssh_config>"
    assert one_shot.stdout == f"{config}{given}\ninput:typed"
    assert script.stdout == f"{config}{given}\ninput:"


def test_ssh_in_the_shell_has_the_terminal(ssh_cm: CommandLine) -> None:
    """In the interactive shell ssh reads from the terminal; its code is the shell's last."""
    with Terminal(ssh_cm.argv(), ssh_cm.environment()) as terminal:
        terminal.expect("cm>")
        terminal.type("cluster ssh t -t worker-1 uptime\n")
        terminal.expect("<t-worker-1><--><uptime>\nterminal\n")
        terminal.type("quit\n")

        assert terminal.end() == 7


@pytest.mark.parametrize("target", ["nosuch", "worker", "all", "9", "worker-[1-9]"])
def test_ssh_wants_one_node(ssh_cm: CommandLine, target: str) -> None:
    """A target that is no node, or several, is exit 2, and ssh is not called."""
    assert ssh_cm("cluster", "ssh", "t", "-t", target, expect=2).stdout == ""


def test_ssh_that_is_not_installed(ssh_cm: CommandLine) -> None:
    """Without ssh there is a clear line and exit 2."""
    answer = CommandLine(ssh_cm.home, ssh_cm.cache, environ={"PATH": "/nonexistent"})("cluster", "ssh", "t", expect=2)

    assert "ssh is not installed" in answer.stderr
