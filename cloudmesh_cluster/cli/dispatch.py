"""From the words of one line to an exit code; the same for the OS's shell, ours, and scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cloudmesh_cluster.cli import failures
from cloudmesh_cluster.cli.commands.registry import TREE
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, Parser, build
from cloudmesh_cluster.cli.words import split_words
from cloudmesh_cluster.core.errors import UsageError, did_you_mean
from cloudmesh_cluster.views.formats import chosen_columns

TAKES_INPUT = ("cluster write",)


def run_words(words: Sequence[str], session: Session) -> int:
    """Run one line, print errors, and return its exit code.

    Args:
        words: the line, without `cm`.
        session: where it was typed.

    """
    try:
        return run(["--help"] if list(words) == ["help"] else list(words), session)
    except BrokenPipeError:
        raise
    except SystemExit as done:  # argparse ends so after --help and --version
        return done.code if isinstance(done.code, int) else 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the outermost place: every error becomes words)
        sys.stderr.write(failures.explain(error, debug=wants_tracebacks(words)))
        return failures.exit_code(error)


def wants_tracebacks(words: Sequence[str]) -> bool:
    """Return whether a line asks for tracebacks."""
    try:
        return "--debug" in split_words(words, TREE).own
    except UsageError:
        return "--debug" in words


def run(words: Sequence[str], session: Session) -> int:
    """Run one line and return its exit code; errors are raised as they are.

    Args:
        words: the line, without `cm`.
        session: where it was typed.

    Raises:
        CmError: what the command refused or what failed.
        SystemExit: argparse has printed a help text or the version.

    """
    words = list(words)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    split = split_words(words, TREE)
    parser = build(TREE, Parser, only=split.command)
    args, unknown = parser.parse_known_args(split.own)
    if split.command is None:
        if unknown:
            raise UsageError(f"unknown option {unknown[0]!r}", hint=did_you_mean(unknown[0], ["--version", "--help"]))
        getattr(args, "group", parser).print_help(sys.stderr)
        return UsageError.exit_code
    unknown = _give_late_words(unknown, split.command, args)
    if unknown:
        raise UsageError(f"unknown arguments: {' '.join(unknown)}", hint=_hint(unknown[0], split.command))
    if split.command.takes_words:
        args.words = split.words
    if split.command.columns:
        chosen_columns(args.column, split.command.columns)  # a wrong column is refused before anything is done
    if session.document is not None and split.command.name not in TAKES_INPUT:
        raise UsageError(f"'{split.command.name}' reads no input", hint="quote the < if it is for the nodes")
    return split.command.run(args, session)


def _give_late_words(unknown: list[str], command: Command, args: argparse.Namespace) -> list[str]:
    """Give words that follow an option to the command's list, which argparse has closed by then; return the others."""
    lists = [each for each in command.positionals if each.options.get("nargs") == "*"]
    if not lists or any(word.startswith("-") for word in unknown):
        return unknown
    name = lists[0].flags[0]
    setattr(args, name, [*getattr(args, name), *unknown])
    return []


def _hint(word: str, command: Command) -> str:
    options = [flag for each in command.all_arguments if each.is_option for flag in each.flags]
    close = did_you_mean(word.partition("=")[0], options) if word.startswith("--") else ""
    return close if close.startswith("did you mean") else f"see: cm {command.name} --help"
