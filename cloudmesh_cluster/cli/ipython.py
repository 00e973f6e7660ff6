"""`%cm` and `%%cm` in IPython and notebooks, after `%load_ext cloudmesh_cluster`.

The lines are those of `cm`, parsed and run by the same code. What differs: an answer is data, progress is shown
below the cell, and an error is shown as `cm` shows it while the cell fails with the typed error.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cloudmesh_cluster.api import foreground
from cloudmesh_cluster.cli.commands.registry import TREE
from cloudmesh_cluster.cli.completion import offer
from cloudmesh_cluster.cli.dispatch import run, wants_tracebacks
from cloudmesh_cluster.cli.failures import explain
from cloudmesh_cluster.cli.lines import Incomplete, Line, parse
from cloudmesh_cluster.cli.script import numbered_lines, output_to
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.core.errors import CmError, UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.files import read_named
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.views.progress.progress import Watched, in_notebook
from cloudmesh_cluster.views.tables import Record, Table

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

T = TypeVar("T")
RENDER = "_render_traceback_"  # the method by which IPython lets an exception show itself


class LineFailed(CmError):
    """A line of `cm` that ended with another exit code than 0 and has said why already."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(f"{line}: exit {code}")
        self.exit_code = code


@dataclass
class MagicSession(Session):
    """A line in IPython: its operation runs beside the loop that a notebook has already."""

    title: str = ""

    def run(self, clusters: Sequence[str], work: Callable[[Emit], Awaitable[T]], *, stopping: str = "") -> T:
        """Run an operation to its end, showing its progress below the cell or on the terminal."""

        async def awaited(emit: Emit) -> T:
            return await work(emit)

        with Watched(self.title, None) as watched:
            return foreground.run(awaited(watched.emit), meanwhile=watched.draw)


def cm(line: str, cell: str | None = None) -> object:
    """Run a line of cm and return its answer as data.

    %cm cluster list                      rows; rows = %cm cluster list
    %cm cluster create demo -n 2          the cluster, as Cluster.open("demo") returns it
    %%cm cluster write demo master        the cell is the script (or a here-document, for what reads one)
    %%cm                                  each line of the cell is a line of cm, up to the first that fails

    IPython replaces {name} and $name by Python's variables first; ${name} and {{name}} are the nodes' own.
    """
    if cell is not None and not line.strip():
        for _, each in numbered_lines(io.StringIO(cell)):
            _display(_run_line(each))
        return None
    try:
        said = parse(line)
    except Incomplete:
        raise UsageError("the line is not complete: a quote is open") from None
    return _run_line(said, document=None if cell is None else cell.encode())


def _run_line(said: Line, *, document: bytes | None = None) -> object:
    home, words = Home.from_environment(os.environ), list(said.words) or ["--help"]
    given = said.document if said.input_file is None else read_named(said.input_file)
    session = MagicSession(
        home, os.environ, mode="script" if in_notebook() else "shell",
        document=given if document is None else document, title=shlex.join(words),
    )  # fmt: skip
    said_by_it = io.StringIO()
    with output_to(said), contextlib.nullcontext() if said.redirector else contextlib.redirect_stdout(said_by_it):
        code = _exit_code(words, session)
    if code or said.redirector:
        sys.stdout.write(said_by_it.getvalue())
    if code:
        raise LineFailed(shlex.join(["cm", *words]), code)
    return None if said.redirector else _answer(session, said_by_it.getvalue())


def _exit_code(words: Sequence[str], session: Session) -> int:
    try:
        return run(words, session)
    except SystemExit as done:  # argparse ends so after --help and --version
        return done.code if isinstance(done.code, int) else 0
    except CmError as error:
        if wants_tracebacks(words):
            shown = explain(error, debug=True).splitlines()
            error.__dict__[RENDER] = lambda: shown
        raise


def _answer(session: Session, text: str) -> object:
    """Return what a line answered: a cluster, rows or a record; what is only text is printed."""
    result = session.result
    if isinstance(result, Mapping) and {"cluster", "nodes", "checks"} <= result.keys():
        if text.lstrip().startswith("{"):
            return Record(result, text=text)
        from cloudmesh_cluster.api.cluster import Cluster

        return Cluster(result["cluster"]["name"])
    if isinstance(result, Mapping):
        return Record(result, text=text)
    if isinstance(result, list):
        return Table(result, session.columns) if session.columns else Table(result, (), text=text)
    sys.stdout.write(text)
    return None


def _display(answer: object) -> None:
    if answer is not None:
        from IPython.display import display

        display(answer)


def _complete(shell: InteractiveShell, event: Any) -> list[str]:
    """Return what completes the line that is being typed."""
    typed = event.line[: len(event.text_until_cursor)] if hasattr(event, "text_until_cursor") else event.line
    words = typed.lstrip().lstrip("%").split()[1:]
    if typed.endswith((" ", "\t")):
        words.append("")
    return list(offer(words, TREE, Home.from_environment(os.environ)).words) if words else []


def _as_cm_says(error: CmError) -> list[str]:
    return explain(error, debug=False).splitlines()


def load(shell: InteractiveShell) -> None:
    """Register the magics, their completion, and how errors of this package are shown."""
    shell.register_magic_function(cm, "line_cell", "cm")
    for key in ("%cm", "%%cm", "cm"):
        shell.set_hook("complete_command", _complete, str_key=key)
    setattr(CmError, RENDER, _as_cm_says)


def unload(shell: InteractiveShell) -> None:
    """Take back what `load` has registered, but for the completion, which IPython can't forget."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("cm", None)
    if hasattr(CmError, RENDER):
        delattr(CmError, RENDER)
