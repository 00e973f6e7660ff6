"""The commands as data, and the one function that makes parsers of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.version import __version__

if TYPE_CHECKING:
    from cloudmesh_cluster.cli.session import Session

Kind = Literal["", "cluster", "node", "target", "role", "profile", "plugin", "provider", "page", "file"]
FORMATS = ("table", "json", "yaml", "csv", "value")
DESCRIPTION = "One command turns machines into a verified cluster."
EPILOG = """\
Without a command, cm opens a shell; a script on its standard input is run line by line.
Each command explains itself: cm cluster create --help"""
ParserT = TypeVar("ParserT", bound=argparse.ArgumentParser)


@dataclass(frozen=True)
class Argument:
    """One option or positional argument, as argparse wants it, and what completes it: a kind of names, or words."""

    flags: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    completes: Kind = ""
    words: tuple[str, ...] = ()

    @property
    def is_option(self) -> bool:
        """Whether it is an option rather than a positional argument."""
        return self.flags[0].startswith("-")

    @property
    def takes_value(self) -> bool:
        """Whether a value follows the option."""
        return self.options.get("action", "store") in ("store", "append")

    @property
    def is_list(self) -> bool:
        """Whether it takes any number of values."""
        return self.options.get("nargs") in ("*", "+")


def argument(*flags: str, completes: Kind = "", **options: Any) -> Argument:
    """Return an argument, written as for `ArgumentParser.add_argument`."""
    return Argument(flags, options, completes)


@dataclass(frozen=True)
class Command:
    """One command: its words, what it says of itself, what it takes and what it does.

    Args:
        object: the first word ("cluster").
        action: the second word ("create"); empty where the first word is the whole command.
        help: one line that says what it does.
        run: takes the parsed arguments and the session, returns the exit code.
        examples: lines to type, without "cm".
        arguments: positional arguments in order, and options.
        columns: the columns of its rows; a command with columns takes `-f` and `-c`.
        takes_words: whether everything from the first word on belongs to a command for the nodes.
        column_flags: how a column is chosen; `-c` means something else to some.

    """

    object: str
    action: str
    help: str
    run: Callable[[argparse.Namespace, Session], int]
    examples: tuple[str, ...]
    arguments: tuple[Argument, ...] = ()
    columns: tuple[str, ...] = ()
    takes_words: bool = False
    column_flags: tuple[str, ...] = ("-c", "--column")

    @property
    def name(self) -> str:
        """The words that call it, without "cm"."""
        return f"{self.object} {self.action}".strip()

    @property
    def all_arguments(self) -> tuple[Argument, ...]:
        """Its own arguments and those that every command of its sort has."""
        return (*self.arguments, *(_row_arguments(self.columns, self.column_flags) if self.columns else ()), _DEBUG)

    @property
    def positionals(self) -> tuple[Argument, ...]:
        """The positional arguments in order, without the words."""
        return tuple(a for a in self.arguments if not a.is_option)


@dataclass(frozen=True)
class Tree:
    """All commands, by object: what `cm OBJECT ACTION` may be."""

    objects: Mapping[str, str]
    commands: tuple[Command, ...]

    def actions(self, name: str) -> dict[str, Command]:
        """Return the commands of an object by their action."""
        return {command.action: command for command in self.commands if command.object == name}


_COLUMN = "print only this column; may be repeated"
_DEBUG = argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
_WORDS = argument("words", nargs="*", metavar="WORD", help="the command; everything from the first word on is its own")


def _row_arguments(columns: Sequence[str], flags: Sequence[str]) -> tuple[Argument, ...]:
    return (
        argument("-f", "--format", choices=FORMATS, default="table", help="how to print the answer"),
        replace(argument(*flags, action="append", metavar="COLUMN", help=f"{_COLUMN} ({', '.join(columns)})"),
                words=tuple(columns)),
    )  # fmt: skip


class Parser(argparse.ArgumentParser):
    """argparse that raises `UsageError` where it would exit."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where to read more."""
        raise UsageError(message, hint=f"see: {self.prog} --help")


def build(
    tree: Tree,
    parser_class: type[ParserT],
    *,
    completion: Callable[[Argument], Mapping[str, Any]] = lambda _: {},
    only: Command | None = None,
) -> ParserT:
    """Make the parsers of all commands.

    Args:
        tree: the commands.
        parser_class: argparse's class, or cmd2's for the interactive shell.
        completion: further arguments for `add_argument` that complete an argument's values.
        only: leave out all other commands; making thirty parsers takes longer than everything else `cm` does first.

    """
    root = parser_class(prog="cm", description=DESCRIPTION, epilog=EPILOG, **_settings())
    root.add_argument("--version", action="version", version=f"cm {__version__}", help="print the version")
    root.add_argument("--debug", action="store_true", default=False, help="show tracebacks")
    objects = root.add_subparsers(dest="object", metavar="COMMAND", title="commands", parser_class=parser_class)
    for name, summary in tree.objects.items():
        actions = {action: each for action, each in tree.actions(name).items() if only in (None, each)}
        if not actions:
            continue
        if "" in actions:
            _fill(objects.add_parser(name, help=summary, **_texts(actions[""])), actions[""], completion)
            continue
        group = objects.add_parser(name, help=summary, description=summary, **_settings())
        group.set_defaults(group=group)
        subparsers = group.add_subparsers(dest="action", metavar="ACTION", title="actions", parser_class=parser_class)
        for action, command in actions.items():
            _fill(subparsers.add_parser(action, help=command.help, **_texts(command)), command, completion)
    return root


def _settings() -> dict[str, Any]:
    # Abbreviated options would change their meaning as soon as a new option begins with the same letters.
    return {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _texts(command: Command) -> dict[str, Any]:
    examples = "\n".join(f"  cm {example}" for example in command.examples)
    return {"description": command.help, "epilog": f"examples:\n{examples}", **_settings()}


def _fill(
    parser: argparse.ArgumentParser, command: Command, completion: Callable[[Argument], Mapping[str, Any]]
) -> None:
    for each in (*command.all_arguments, *((_WORDS,) if command.takes_words else ())):
        parser.add_argument(*each.flags, **{**each.options, **completion(each)})
