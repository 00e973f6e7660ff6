"""Which words of a line are `cm`'s own, and which belong to the command that nodes run.

argparse cannot tell: in `cmd NAME ls -y` it takes `-y` for an option of `cm`. So the line is split before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloudmesh_cluster.cli.tree import Command, Tree
from cloudmesh_cluster.core.errors import UsageError, did_you_mean

OTHER_WORDS = {
    "delete": ("rm", "remove", "destroy", "terminate", "down", "kill"),
    "create": ("up", "launch", "new", "make", "deploy"),
    "ssh": ("login", "connect", "attach", "shell"),
    "cmd": ("exec", "run", "command"),
    "put": ("copy", "cp", "push", "upload"),
    "get": ("pull", "download", "fetch"),
    "scale": ("resize", "add", "grow", "shrink"),
    "show": ("describe", "info"),
    "list": ("ls", "ps"),
    "report": ("log", "logs"),
    "status": ("top",),
}
"""What other tools call an action of `cluster`."""


@dataclass(frozen=True)
class Split:
    """A line in two: what `cm` parses, and the words for the nodes. `command` is None for `cm --help` and the like."""

    command: Command | None
    own: list[str]
    words: list[str]


def split_words(argv: Sequence[str], tree: Tree) -> Split:
    """Split a line at the first word that belongs to the nodes' command.

    Args:
        argv: the words of the line, without `cm`.
        tree: all commands.

    Raises:
        UsageError: there is no such command.

    """
    command, start = find_command(argv, tree)
    if command is None or not command.takes_words:
        return Split(command, list(argv), [])
    at, skip = _first_word(argv, start, command)
    return Split(command, _without_separator(argv, at, skip, start, command), list(argv[at + skip :]))


def find_command(argv: Sequence[str], tree: Tree) -> tuple[Command | None, int]:
    """Return the command that a line calls, and where its arguments begin; None while it names none.

    Raises:
        UsageError: a word names no object or no action.

    """
    at = next((i for i, word in enumerate(argv) if not word.startswith("-")), len(argv))
    if at == len(argv):
        return None, at
    name = argv[at]
    if name not in tree.objects:
        raise UsageError(f"unknown command {name!r}", hint=hint_of(name, tree))
    actions = tree.actions(name)
    if "" in actions:
        return actions[""], at + 1
    action = argv[at + 1] if at + 1 < len(argv) else "--help"
    if action.startswith("-"):
        return None, at + 1
    if action not in actions:
        raise UsageError(f"unknown command '{name} {action}'", hint=_hint_of_action(name, action, tree))
    return actions[action], at + 2


def hint_of(name: str, tree: Tree, *, also: Sequence[str] = ()) -> str:
    """Return the command that somebody means who leaves out `cluster`, or has mistyped the first word.

    Args:
        name: what was typed.
        tree: all commands.
        also: first words that are no commands of the tree.

    """
    close = did_you_mean(name, [*tree.objects, *also])
    if close.startswith("did you mean"):
        return close
    meant = _meant(name, "cluster", tree)
    return f"did you mean 'cm cluster {meant}'?" if meant else close


def _hint_of_action(name: str, action: str, tree: Tree) -> str:
    if meant := _meant(action, name, tree):
        return f"did you mean 'cm {name} {meant}'?"
    close = did_you_mean(action, list(tree.actions(name)))
    elsewhere = not close.startswith("did you mean") and action in tree.actions("cluster")
    return f"did you mean 'cm cluster {action}'?" if elsewhere else close


def _meant(word: str, name: str, tree: Tree) -> str:
    """Return the action of an object that has this name here or, in other tools, elsewhere; nothing if none has."""
    actions = tree.actions(name)
    return next((each for each in actions if word == each or word in OTHER_WORDS.get(each, ())), "")


def _first_word(argv: Sequence[str], start: int, command: Command) -> tuple[int, int]:
    """Return where the words begin, and 1 when a `--` stands there."""
    missing, at = len(command.positionals), start
    while at < len(argv):
        word = argv[at]
        if word == "--":
            return at, 1
        if word.startswith("-") and word != "-":
            at += 1 + value_follows(word, command)
        elif missing == 0:
            return at, 0
        else:
            missing, at = missing - 1, at + 1
    return len(argv), 0


def _without_separator(argv: Sequence[str], at: int, skip: int, start: int, command: Command) -> list[str]:
    own = list(argv[:at])
    if skip and sum(1 for _ in positional_words(own[start:], command)) < len(command.positionals):
        raise UsageError(f"'--' stands before {_name(command, own[start:])}", hint=f"see: cm {command.name} --help")
    return own


def _name(command: Command, own: Sequence[str]) -> str:
    given = sum(1 for _ in positional_words(own, command))
    return str(command.positionals[given].flags[0]).upper()


def positional_words(own: Sequence[str], command: Command) -> list[str]:
    """Return the words that are neither options nor their values."""
    found, at = [], 0
    while at < len(own):
        if own[at].startswith("-") and own[at] != "-":
            at += 1 + value_follows(own[at], command)
        else:
            found.append(own[at])
            at += 1
    return found


def value_follows(word: str, command: Command) -> bool:
    """Return whether the word after the option `word` is its value (`-fjson` and `--format=json` hold theirs)."""
    if word.startswith("--"):
        return "=" not in word and _takes_value(word, command)
    for at, letter in enumerate(word[1:], start=1):
        if _takes_value(f"-{letter}", command):
            return at == len(word) - 1
    return False


def _takes_value(flag: str, command: Command) -> bool:
    return any(each.takes_value for each in command.all_arguments if flag in each.flags)
