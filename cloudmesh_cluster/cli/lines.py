"""A line of the shell or of a script, in words: quotes and backslashes as in `sh`, and nothing expanded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudmesh_cluster.core.errors import UsageError

_DELIMITER = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]+)'|\"([^\"\n]+)\"|([^\s<>|'\"\\]+))")
_PROGRAM = re.compile(r"^[ \t]*cm[ \t]+(?=\S)")


class Incomplete(Exception):
    """The line goes on: a quote is open, a backslash ends it, or a here-document has not ended."""


@dataclass(frozen=True)
class Line:
    """What a line says.

    Args:
        words: its words, without quotes.
        document: the here-document.
        input_file: the file of `< FILE`.
        redirector: `>`, `>>` or `|`, or nothing.
        redirect_to: the file, or the commands after `|`, as typed.

    """

    words: tuple[str, ...] = ()
    document: bytes | None = None
    input_file: str | None = None
    redirector: str = ""
    redirect_to: str = ""


def parse(text: str) -> Line:
    """Return what a line says. `;`, `&`, `$`, `*` and a `#` that does not begin the line are ordinary characters.

    Raises:
        Incomplete: more lines belong to it.
        UsageError: a redirection without its file, or text after the line's end.

    """
    if text.lstrip().startswith("#"):
        return Line()
    return _Reader(without_program(text)).line()


def without_program(text: str) -> str:
    """Return a line without its leading `cm`: people paste lines from the documentation."""
    return _PROGRAM.sub("", text)


class _Reader:
    """Reads one line from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.words: list[str] = []
        self.input_file: str | None = None
        self.delimiter: tuple[str, bool] | None = None
        self.redirector, self.redirect_to = "", ""

    def line(self) -> Line:
        while self._skip_blanks():
            self._next()
        rest = self.text[self.at + 1 :]
        document = None
        if self.delimiter is not None:
            document = _document(rest, *self.delimiter)
        elif rest.strip():
            raise UsageError("one line at a time", hint="a line goes on after a backslash, or inside quotes")
        return Line(tuple(self.words), document, self.input_file, self.redirector, self.redirect_to)

    def _skip_blanks(self) -> bool:
        while self.text.startswith((" ", "\t", "\r", "\\\n"), self.at):
            self.at += 2 if self.text[self.at] == "\\" else 1
        return self.at < len(self.text) and self.text[self.at] != "\n"

    def _next(self) -> None:
        if match := _DELIMITER.match(self.text, self.at):
            self.delimiter = (match[2] or match[3] or match[4], bool(match[1]))
            self.at = match.end()
        elif self.text[self.at] == "<":
            self.at += 1
            self.input_file = self._file("<")
        elif self.text[self.at] == "|":
            self.redirector = "|"
            end = self.text.find("\n", self.at)
            end = len(self.text) if end < 0 else end
            self.redirect_to = self.text[self.at + 1 : end].strip()
            self.at = end
            if not self.redirect_to:
                raise UsageError("nothing stands after '|'")
        elif self.text[self.at] == ">":
            self.redirector = ">>" if self.text.startswith(">>", self.at) else ">"
            self.at += len(self.redirector)
            self.redirect_to = self._file(self.redirector)
        else:
            self.words.append(self._word())

    def _file(self, operator: str) -> str:
        if not self._skip_blanks() or self.text[self.at] in "<>|":
            raise UsageError(f"no file stands after {operator!r}")
        return self._word()

    def _word(self) -> str:
        parts = []
        while self.at < len(self.text) and self.text[self.at] not in " \t\r\n<>|":
            parts.append(self._piece())
        return "".join(parts)

    def _piece(self) -> str:
        character = self.text[self.at]
        self.at += 1
        if character == "'":
            end = self.text.find("'", self.at)
            if end < 0:
                raise Incomplete
            piece, self.at = self.text[self.at : end], end + 1
            return piece
        if character == '"':
            return self._double_quoted()
        if character == "\\":
            return self._escaped(quoted=False)
        return character

    def _double_quoted(self) -> str:
        parts: list[str] = []
        while True:
            if self.at >= len(self.text):
                raise Incomplete
            character = self.text[self.at]
            self.at += 1
            if character == '"':
                return "".join(parts)
            parts.append(self._escaped(quoted=True) if character == "\\" else character)

    def _escaped(self, *, quoted: bool) -> str:
        """Return what a backslash makes of the next character; one at the end of a line joins two lines."""
        if self.at >= len(self.text):
            raise Incomplete
        character = self.text[self.at]
        self.at += 1
        if character == "\n":
            return ""
        return "\\" + character if quoted and character not in '"\\$`' else character


def _document(rest: str, delimiter: str, strip_tabs: bool) -> bytes:
    kept: list[str] = []
    for row in rest.split("\n"):
        content = row.lstrip("\t") if strip_tabs else row
        if content.rstrip("\r") == delimiter:
            return "".join(f"{line}\n" for line in kept).encode()
        kept.append(content)
    raise Incomplete
