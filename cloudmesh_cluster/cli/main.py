"""`cm`: one command, a shell when there is none, a script when one is piped in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.version import __version__

SIGPIPE_EXIT = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cm` and return its exit code.

    Args:
        argv: the words after `cm`; those of this process when None.

    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _main(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output is gone. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGPIPE_EXIT
    return code


def process() -> NoReturn:
    """Be the process `cm`: run it and end with its exit code."""
    code = main()
    if "rattler" in sys.modules:
        # Its threads may still be at work when Python takes itself apart, and crash the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _main(words: list[str]) -> int:
    if words == ["--version"]:
        print(f"cm {__version__}")
        return 0
    from cloudmesh_cluster.cli.session import Session

    home = Home.from_environment(os.environ)
    if words[:1] == ["__complete"]:
        from cloudmesh_cluster.cli.commands.registry import TREE
        from cloudmesh_cluster.cli.completion import answer

        return answer(words[1:], TREE, home)
    if words:
        from cloudmesh_cluster.cli.dispatch import run_words

        return run_words(words, Session(home, os.environ))
    if sys.stdin.isatty():
        from cloudmesh_cluster.cli.shell import run_shell

        return run_shell(home)
    from cloudmesh_cluster.cli.script import run_lines

    return run_lines(sys.stdin, Session(home, os.environ, mode="script"), name="standard input")
