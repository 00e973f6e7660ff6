"""A check of what nodes run: root works in no folder that belongs to somebody else.

Usage: python -m tests.support.root_writes FOLDER...; each is a plugin's folder, or that of the boot scripts. Prints
what it finds, FILE:LINE a line, and fails.

Whoever owns a folder may put a link there at any time. So what lies below the home of a `make_user`, or below a folder
that `install -d -o USER` gives away, is touched with that user's rights only: `as USER`, `folders_as`, `write_as`, in
boot scripts `as_user`. The folders themselves lie in folders of root's, who may make, give away and remove them.

It reads the text and runs nothing: a path is known when it is written out, or made of variables that the plugin's
files set to a fixed text. What a function gets as an argument or a loop goes through is not seen; `write_file`,
`unpack_payload` and `replace_file` see that when they run, and refuse it.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TOUCHING = frozenset(
    (
        *("install", "mkdir", "chown", "chmod", "chgrp", "ln", "cp", "mv", "touch", "tee", "truncate", "tar", "find"),
        *("rm", "rmdir", "write_file", "unpack_payload"),
        *("cat", "tail", "head", "grep", "sed", "awk", "source", "."),
    )
)
"""Commands that change what a path leads to, or show it."""
_NOT_COMMANDS = frozenset(
    ("if", "then", "elif", "else", "while", "until", "do", "!", "{", "}", "time", "exec", "command", "sudo", "env")
)
_OPERATOR = re.compile(r"[();<>|&]+")
_SETS = re.compile(r"""(?:^|[\s;])(\w+)=(?:"([^"\n]*)"|([^\s"';|&()]+))""")
_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")


@dataclass(frozen=True)
class Line:
    """A line of a script with those that continue it, as words and operators."""

    file: Path
    number: int
    words: tuple[str, ...]


def problems(folder: Path) -> list[str]:
    """Return where root touches what lies below a folder of somebody else, FILE:LINE: words."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_shell(path)]
    lines = [line for file in files for line in _lines(file)]
    values = _values(files)
    if folder.name == "boot":
        values["home"] = "/home/somebody"
        values.pop("HOME", None)  # of who works there with the rights of its owner
    foreign = {"/home", *_given_away(lines, values)}
    return [
        f"{line.file}:{line.number}: root touches {path}: {' '.join(command)[:60]}"
        for line in lines
        for command in _commands(line.words)
        for path in _touched(command, values)
        if _is_below(path, foreign, command)
    ]


def _is_shell(path: Path) -> bool:
    if path.suffix == ".sh":
        return True
    with path.open("rb") as file:
        return re.match(rb"#!.*[/ ](ba|da)?sh\b", file.readline(80)) is not None


def _lines(file: Path) -> Iterator[Line]:
    """Yield the lines of a script; the texts of here-documents are none."""
    rest = iter(enumerate(file.read_text().splitlines(), start=1))
    for number, first in rest:
        text = first
        while (words := _words(text)) is None:
            following = next(rest, None)
            if following is None:
                break
            text = text.removesuffix("\\") + "\n" + following[1]
        yield Line(file, number, words or ())
        for end in _HEREDOC.findall(text.replace("<<<", " ")):
            while (following := next(rest, None)) is not None and following[1].strip() != end:
                pass


def _words(text: str) -> tuple[str, ...] | None:
    """Return the words and operators of a line; None when it goes on."""
    if text.lstrip().startswith("#"):
        return ()
    if text.endswith("\\"):
        return None
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:
        return None
    comment = next((place for place, word in enumerate(words) if word.startswith("#")), len(words))
    return tuple(words[:comment])


def _values(files: list[Path]) -> dict[str, str]:
    """Return the variables that are set to a path, the first time that they are."""
    values: dict[str, str] = {}
    for file in files:
        for name, quoted, plain in _SETS.findall(file.read_text()):
            if (value := quoted or plain).startswith(("/", "$")):
                values.setdefault(name, value)
    return values


def _resolved(word: str, values: Mapping[str, str]) -> str:
    for _ in range(8):
        found = re.match(r"\$(?:\{(\w+)\}|(\w+))", word)
        if found is None or (value := values.get(found[1] or found[2])) is None:
            break
        word = value + word[found.end() :]
    return word


def _given_away(lines: list[Line], values: Mapping[str, str]) -> Iterator[str]:
    for line in lines:
        for command in _commands(line.words):
            words = [_resolved(word, values) for word in command]
            if command[0] == "make_user" and len(words) > 2:
                yield words[2]
            if command[0] == "install" and "-d" in words and "-o" in words and words[words.index("-o") + 1] != "root":
                yield from (word for word in words if word.startswith("/"))


def _commands(words: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the simple commands of a line; a file after < or > is one too, since the shell itself opens it."""
    command: list[str] = []
    redirected = ""
    for word in (*words, ";"):
        if redirected:
            yield [redirected, word]
            redirected = ""
        elif not _OPERATOR.fullmatch(word):
            if command or not (word in _NOT_COMMANDS or re.match(r"\w+=|timeout$|\d+$", word)):
                command.append(word)
        elif re.search(r"(^|[^<])<$|>$|>\|$", word):  # also right behind a bracket: $(<FILE)
            redirected = word[-1]
        elif command:
            yield command
            command = []


def _touched(command: list[str], values: Mapping[str, str]) -> Iterator[str]:
    words = command[1:]
    if command[0] in ("grep", "sed", "awk"):  # the first is no file
        words = [word for word in words if not word.startswith("-")][1:]
    if command[0] in ("<", ">", "|") or command[0] in TOUCHING:
        yield from (path for word in words if (path := _resolved(word, values)).startswith("/"))


def _is_below(path: str, foreign: set[str], command: list[str]) -> bool:
    folders = [folder for folder in foreign if path.startswith(folder.rstrip("/") + "/")]
    # `rm` follows no link at the end of a path.
    return any(command[0] != "rm" or "/" in path[len(folder) :].strip("/") for folder in folders)


def main() -> int:
    """Check the folders given; print what is wrong."""
    found = [problem for folder in sys.argv[1:] for problem in problems(Path(folder))]
    sys.stdout.writelines(f"{problem}\n" for problem in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
