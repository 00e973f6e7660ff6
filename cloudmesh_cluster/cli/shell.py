"""`cm` without words on a terminal: cmd2 around the very commands that the OS's shell runs.

A thin adapter. cmd2 gives line editing, history, help, completion, macros and redirection. The words of a line are
found by `lines.py` and run by `dispatch.py`, as in scripts, because cmd2 splits and quotes otherwise than `sh`,
ends a statement at `;`, knows no `<`, and keeps no exit code.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, cast

import cmd2
from cmd2.exceptions import Cmd2ArgparseError
from cmd2.parsing import Statement, StatementParser

from cloudmesh_cluster.cli import completion, script
from cloudmesh_cluster.cli.commands.registry import TREE
from cloudmesh_cluster.cli.failures import explain
from cloudmesh_cluster.cli.lines import Incomplete, Line, parse, without_program
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Argument, Kind, build
from cloudmesh_cluster.cli.words import hint_of
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.version import __version__

USAGE = UsageError.exit_code
LEAVING = ("quit", "_eof")


class LineParser(StatementParser):
    """Finds a statement's parts as `lines.py` does, for the commands of `cm`; cmd2's own commands stay cmd2's."""

    def parse(self, line: str) -> Statement:
        """Return the parts of a line; one that goes on is told as a multi-line command without its end."""
        line = without_program(line)
        command = self.parse_command_only(line).command
        if command not in TREE.objects:
            return super().parse(line)
        arguments = self._expand(line).lstrip().removeprefix(command)
        said, complete = Line(), True
        try:
            said = parse(command + arguments)
        except Incomplete:
            complete = False
        except UsageError:
            pass  # reported by `Shell.run_statement`, which parses the same text, so that it has its exit code
        return Statement(
            arguments, raw=line, command=command, multiline_command=not complete,
            redirector=said.redirector, redirect_to=said.redirect_to,
        )  # fmt: skip


class ShellParser(cmd2.Cmd2ArgumentParser):
    """cmd2's parser, here for help and completion only."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "formatter_class": cmd2.RawDescriptionCmd2HelpFormatter})


class Shell(cmd2.Cmd):
    """The interactive shell of `cm`."""

    def __init__(self, home: Home) -> None:
        self.session = Session(home, os.environ, mode="shell")
        super().__init__(
            allow_cli_args=False,
            intro=f"cm {__version__}: 'help' lists the commands, 'cluster create --help' explains one, 'quit' leaves.",
            persistent_history_file=str(home.history_file),
            terminators=[],
        )
        self.prompt = "cm> "
        self.statement_parser = LineParser(terminators=[], aliases=self.aliases)
        self._code_before = 0
        self.register_postparsing_hook(self._count_on_failure)

    def _count_on_failure(self, data: cmd2.plugin.PostparsingData) -> cmd2.plugin.PostparsingData:
        """Set the code of a line that cmd2 itself refuses, which it tells nobody."""
        self._code_before, self.exit_code = self.exit_code, USAGE
        return data

    def onecmd(self, statement: Statement | str, *, add_to_history: bool = True) -> bool:
        """Run a command and keep its exit code; those of `cm` run as everywhere else."""
        if not isinstance(statement, Statement):
            statement = self._input_line_to_statement(statement)
        if statement.command in TREE.objects:
            if add_to_history:
                self.history.append(statement)
            self.run_statement(statement)
            return False
        self.exit_code = self._code_before if statement.command in LEAVING else 0
        try:
            return super().onecmd(statement, add_to_history=add_to_history)
        except Cmd2ArgparseError:
            self.exit_code = USAGE
            raise

    def run_statement(self, statement: Statement) -> None:
        """Run a command of `cm`; cmd2 has redirected the output already."""
        with contextlib.redirect_stdout(self.stdout):
            try:
                said = parse(statement.command + statement.args)
            except (UsageError, Incomplete) as error:
                sys.stderr.write(explain(UsageError(str(error) or "the line is not complete"), debug=False))
                self.exit_code = USAGE
                return
            self.exit_code = script.run_line(replace(said, redirector=""), self.session)
            with contextlib.suppress(BrokenPipeError):
                self.stdout.flush()
        self.last_result = self.session.result

    def default(self, statement: Statement) -> bool | None:
        """Refuse a command that nobody knows, as everywhere else."""
        hint = hint_of(statement.command, TREE, also=("help", "history", "quit"))
        sys.stderr.write(explain(UsageError(f"unknown command {statement.command!r}", hint=hint), debug=False))
        self.exit_code = USAGE
        return None


def _names(kind: Kind) -> Callable[..., cmd2.Choices]:
    def provide(shell: Shell, arg_tokens: Mapping[str, list[str]]) -> cmd2.Choices:
        cluster = (arg_tokens.get("name") or [""])[0]
        found = completion.names(kind, shell.session.home, cluster=cluster)
        return cmd2.Choices(items=[cmd2.CompletionItem(name, display_meta=text) for name, text in found.items()])

    return provide


def _completion(each: Argument) -> dict[str, Any]:
    if each.completes == "file":
        return {"completer": cmd2.Cmd.path_complete}
    if each.words:
        return {"choices_provider": lambda _: cmd2.Choices.from_values(each.words)}
    return {"choices_provider": _names(each.completes)} if each.completes else {}


@cache
def _parsers() -> ShellParser:
    return build(TREE, ShellParser, completion=_completion)


def _known_to_cmd2(name: str) -> Callable[..., bool | None]:
    """Return the method by which cmd2 knows a command: for its list of commands, its help and its completion."""

    def run(shell: Shell, args: argparse.Namespace) -> None:
        shell.run_statement(args.cmd2_statement)

    run.__name__ = f"do_{name}"
    run.__qualname__ = f"Shell.do_{name}"
    run.__doc__ = TREE.objects[name]
    return cmd2.with_argparser(lambda: cast("ShellParser", _parsers().find_parser([name])))(run)


for _name in TREE.objects:
    setattr(Shell, f"do_{_name}", cmd2.with_category("cm")(_known_to_cmd2(_name)))


def run_shell(home: Home) -> int:
    """Run the interactive shell; return the code of its last command."""
    home.make()
    return Shell(home).cmdloop()
