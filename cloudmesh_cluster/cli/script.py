"""Lines from a script, one after the other, up to the first that fails."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO, cast

from cloudmesh_cluster.cli.dispatch import run_words
from cloudmesh_cluster.cli.failures import explain
from cloudmesh_cluster.cli.lines import Incomplete, Line, parse
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import read_named

LAST_WORDS = ("quit", "exit")


def run_lines(source: Iterable[str], session: Session, *, name: str) -> int:
    """Run lines; return 0, or the code of the first line that fails.

    Args:
        source: the lines.
        session: where they come from.
        name: what to call the source in messages.

    """
    inner = replace(session, mode="script", document=None)
    try:
        for number, line in numbered_lines(source):
            if line.words in [(word,) for word in LAST_WORDS]:
                return 0
            if code := run_line(line, inner):
                sys.stderr.write(f"cm: stopped at {name}:{number}: {' '.join(line.words)}\n")
                return code
    except UsageError as error:
        sys.stderr.write(explain(UsageError(f"{name}:{error.message}", hint=error.hint), debug=False))
        return error.exit_code
    return 0


def numbered_lines(source: Iterable[str]) -> Iterator[tuple[int, Line]]:
    """Yield what each line says with the number of its first row; rows that go on are joined.

    Raises:
        UsageError: a line is wrong, or the source ends in the middle of one; the message begins with its number.

    """
    text, first = "", 0
    for number, row in enumerate(source, start=1):
        text, first = (f"{text}\n{row}", first) if first else (row, number)
        text = text.rstrip("\n") if row.endswith("\n") else text
        try:
            line = parse(text)
        except Incomplete:
            continue
        except UsageError as error:
            raise UsageError(f"{first}: {error.message}", hint=error.hint) from None
        if line.words or line.redirector:
            yield first, line
        text, first = "", 0
    if first:
        raise UsageError(f"{first}: the script ends in the middle of this line",
                         hint="a quote, a here-document or a backslash asks for more")  # fmt: skip


def run_line(line: Line, session: Session) -> int:
    """Run one line of a script or of the shell with its input and its output where it says."""
    try:
        document = line.document if line.input_file is None else read_named(line.input_file)
        with output_to(line):
            inner = replace(session, document=document)
            code = run_words(line.words, inner)
            session.result = inner.result
            return code
    except UsageError as error:
        sys.stderr.write(explain(error, debug=False))
        return error.exit_code
    except BrokenPipeError:
        # What is behind the | has read enough.
        return 0


@contextmanager
def output_to(line: Line) -> Iterator[None]:
    """Send standard output where a line says.

    Raises:
        UsageError: the file cannot be written.

    """
    if not line.redirector:
        yield
    elif line.redirector == "|":
        with _pipe_to(line.redirect_to) as pipe, contextlib.redirect_stdout(pipe):
            yield
    else:
        try:
            file = Path(line.redirect_to).expanduser().open("a" if line.redirector == ">>" else "w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{line.redirect_to}: {error.strerror}") from None
        with file, contextlib.redirect_stdout(file):
            yield


@contextmanager
def _pipe_to(commands: str) -> Iterator[TextIO]:
    """Yield the input of commands of the user, which run in the user's shell, and wait for their end."""
    sys.stdout.flush()
    with subprocess.Popen(["sh", "-c", commands], stdin=subprocess.PIPE, text=True) as shell:
        pipe = cast("TextIO", shell.stdin)
        try:
            yield pipe
        finally:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
