"""How a line of the shell or of a script falls into words."""

from __future__ import annotations

import shlex

import pytest

from cloudmesh_cluster.cli.lines import Incomplete, Line, parse
from cloudmesh_cluster.core.errors import UsageError


@pytest.mark.parametrize(
    "text",
    [
        "cluster list",
        "  cluster\tlist  ",
        "a 'b c' \"d e\" f\\ g",
        """a "it's" 'say "x"' b\\"c""",
        """a"b c"d'e f'g""",
        "a '' \"\" b",
        r"""a "back\\slash" "dollar\$" 'raw\n' """,
        "--expect='a|b>c' --set=x=\"1 2\"",
        "name=value $HOME * ~ `x` $(y)",
    ],
)
def test_words_are_those_of_sh(text: str) -> None:
    """Quotes and backslashes mean what they mean to the OS's shell, and nothing is expanded."""
    expected = [word.replace("\\$", "$") for word in shlex.split(text)]  # shlex keeps the backslash of "\$"

    assert list(parse(text).words) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cmd t echo a ; echo b", ("cmd", "t", "echo", "a", ";", "echo", "b")),
        ("cmd t echo a; b", ("cmd", "t", "echo", "a;", "b")),
        ("cmd t echo # a", ("cmd", "t", "echo", "#", "a")),
        ("cmd t echo a#b & c && d", ("cmd", "t", "echo", "a#b", "&", "c", "&&", "d")),
    ],
)
def test_semicolon_and_hash_are_harmless(text: str, words: tuple[str, ...]) -> None:
    """`;`, `&` and a `#` within a line are ordinary characters: nothing is dropped in silence."""
    assert parse(text) == Line(words)


@pytest.mark.parametrize(
    ("text", "words"), [("cm cluster list", ("cluster", "list")), ("cm", ("cm",)), ("ssh cm x", ("ssh", "cm", "x"))]
)
def test_a_line_may_be_copied_from_the_documentation(text: str, words: tuple[str, ...]) -> None:
    """The `cm` before a command is no word of it."""
    assert parse(text) == Line(words)


@pytest.mark.parametrize("text", ["", "   ", "# a 'comment", "   # also <one"])
def test_empty_lines_and_comments_say_nothing(text: str) -> None:
    """A line of blanks and one that begins with `#` have no words."""
    assert parse(text) == Line()


@pytest.mark.parametrize("text", ["a 'b", 'a "b', "a \\", "a <<EOF", "a <<EOF\nb", "a <<EOF\nEOF b", 'a "b\nc'])
def test_a_line_goes_on(text: str) -> None:
    """An open quote, a last backslash and an unfinished here-document ask for more."""
    with pytest.raises(Incomplete):
        parse(text)


def test_continuation_and_quotes_span_rows() -> None:
    """A backslash joins two rows; a quoted newline stays."""
    assert parse("a \\\n  b").words == ("a", "b")
    assert parse("a\\\nb \\\n").words == ("ab",)
    assert parse("a \\\nb 'c\nd' \"e\\\nf\"").words == ("a", "b", "c\nd", "ef")


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("w t master <<EOF\ntouch 'x\n  # kept\n\nEOF", b"touch 'x\n  # kept\n\n"),
        ("w t master <<'END'\n$HOME\nEND", b"$HOME\n"),
        ('w t master << "E F"\na\nE F', b"a\n"),
        ("w t master <<-EOF\n\ta\n\t\tb\n\tEOF", b"a\nb\n"),
        ("w t master <<EOF\nEOF", b""),
        ("w t master <<EOF\n\tEOF\nEOF", b"\tEOF\n"),
    ],
)
def test_here_documents_are_taken_as_they_stand(text: str, document: bytes) -> None:
    """Nothing in a here-document is expanded or unquoted; `<<-` strips tabs."""
    said = parse(text)

    assert (said.words, said.document) == (("w", "t", "master"), document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("w t master < my.sh", Line(("w", "t", "master"), input_file="my.sh")),
        ("w t master <'my script.sh'", Line(("w", "t", "master"), input_file="my script.sh")),
        ("list > out", Line(("list",), redirector=">", redirect_to="out")),
        ("list>>out", Line(("list",), redirector=">>", redirect_to="out")),
        ("list | sort -r | head > x", Line(("list",), redirector="|", redirect_to="sort -r | head > x")),
        ("w t all <<E | tee log\na\nE", Line(("w", "t", "all"), b"a\n", redirector="|", redirect_to="tee log")),
        ("cmd t 'a | b' \">\" \\<", Line(("cmd", "t", "a | b", ">", "<"))),
    ],
)
def test_redirections(text: str, said: Line) -> None:
    """Unquoted `<`, `>`, `>>` and `|` redirect; quoted ones are words."""
    assert parse(text) == said


@pytest.mark.parametrize("text", ["a >", "a <", "a |", "a > | b", "a\nb"])
def test_wrong_lines_are_refused(text: str) -> None:
    """A redirection without its file and a second line are errors, not guesses."""
    with pytest.raises(UsageError):
        parse(text)
