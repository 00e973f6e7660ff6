"""What a command knows of where it was typed: its home, its input, how it answers, and how it is stopped."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from cloudmesh_cluster.core.errors import Interrupted, UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.views.formats import Row, chosen_columns, record_as, rows_as, terminal_width

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

    from cloudmesh_cluster.plugins.model import ChosenPlugin
    from cloudmesh_cluster.plugins.secret_settings import Ask

T = TypeVar("T")
Mode = Literal["one-shot", "shell", "script"]


@dataclass
class Session:
    """One line's surroundings.

    Args:
        home: where everything lies.
        environ: the environment.
        mode: typed to the OS's shell, to ours, or read from a script.
        document: the here-document or the content of `< FILE`, in the shell and in scripts.
        result: the last answer as plain data.
        columns: the columns of it that a table shows; none where it is no table.

    """

    home: Home
    environ: Mapping[str, str]
    mode: Mode = "one-shot"
    document: bytes | None = None
    result: Any = field(default=None)
    columns: Sequence[str] = ()

    def show_rows(
        self,
        args: argparse.Namespace,
        rows: Sequence[Row],
        columns: Sequence[str],
        *,
        usual: Sequence[str] = (),
        brief: Sequence[str] = (),
    ) -> None:
        """Print rows on standard output as `-f` and `-c` say, and keep them as the result.

        Args:
            args: the parsed line.
            rows: the data.
            columns: what there is to choose from.
            usual: what there is when none are chosen; all if not given.
            brief: the same, for a table.

        """
        unless_chosen = brief if brief and args.format == "table" else usual
        chosen = chosen_columns(args.column or unless_chosen, columns)
        self.result = [{name: row.get(name) for name in columns} for row in rows]
        self.columns = chosen if args.format == "table" else ()
        sys.stdout.write(rows_as(args.format, rows, chosen, width=terminal_width()))

    def show_record(self, args: argparse.Namespace, record: Row, columns: Sequence[str]) -> None:
        """Print one record on standard output as `-f` and `-c` say, and keep it as the result."""
        chosen = chosen_columns(args.column, columns)
        self.result = {name: record.get(name) for name in columns}
        sys.stdout.write(record_as(args.format, record, chosen))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is lost.

        Raises:
            UsageError: nobody can be asked, or the answer was no.

        """
        if yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{question} Nobody is here to ask", hint="say yes beforehand: -y")
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise UsageError("nothing was done")

    def ask_secrets(self, plugins: Sequence[ChosenPlugin]) -> Ask | None:
        """Ask on the terminal for the secrets of plugins that nothing gives; return what answers with them later.

        An operation shows its progress on the terminal, so that nobody can be asked any more while it runs.
        """
        from getpass import getpass

        from cloudmesh_cluster.plugins.secret_settings import given_secrets

        answers: dict[str, str] = {}

        def ask(words: str) -> str:
            answers[words] = getpass(f"{words}: ")
            return answers[words]

        if not sys.stdin.isatty():
            return None
        given_secrets(plugins, self.environ, ask)
        return answers.__getitem__

    def run(
        self,
        clusters: Sequence[str],
        work: Callable[[Emit], Awaitable[T]],
        *,
        stopping: str = "stopping and cleaning up; Ctrl-C again stops at once",
    ) -> T:
        """Run an operation to its end, showing its progress on standard error.

        Ctrl-C makes it stop and clean up after itself; a second one ends this process at once.

        Args:
            clusters: whose names are told when it is stopped at once.
            work: the operation.
            stopping: what is said at the first Ctrl-C.

        Raises:
            Interrupted: the user stopped it.

        """
        from cloudmesh_cluster.views.progress.progress import progress_on

        with progress_on(sys.stderr) as emit:
            return _run_to_end(work(emit), lambda: _stop_at_once(self.home, clusters), stopping)


def _run_to_end(work: Awaitable[T], stop_at_once: Callable[[], NoReturn], stopping: str) -> T:
    import asyncio

    async def awaited() -> T:
        return await work

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(awaited())
        with _interrupts(loop, task, stop_at_once, stopping):
            try:
                return loop.run_until_complete(task)
            except asyncio.CancelledError:
                raise Interrupted("interrupted") from None
            finally:
                # Threads can't be cancelled. While they are waited for, a second signal must still end the process.
                loop.run_until_complete(loop.shutdown_default_executor())


@contextmanager
def _interrupts(
    loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any], stop_at_once: Callable[[], NoReturn], stopping: str
) -> Iterator[None]:
    """Let the first signal cancel the task, and the second one end the process.

    A terminal that is closed says so more than once, so SIGHUP is never the second one; under nohup it is none at all.
    """
    pressed = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if not pressed:
            pressed = True
            _say(f"\ncm: {stopping}\n")
            loop.call_soon_threadsafe(task.cancel)
        elif number != signal.SIGHUP:
            stop_at_once()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def _stop_at_once(home: Home, clusters: Sequence[str]) -> NoReturn:
    """End this process, saying what it leaves.

    The process must end: its lock on the cluster, its connections and its children end with it.
    """
    from cloudmesh_cluster.cli.failures import what_is_left

    try:
        _say("\ncm: stopped at once\n" + "".join(what_is_left(home, name) for name in clusters))
    finally:
        os._exit(Interrupted.exit_code)


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be gone: that is one reason to be stopped
        sys.stderr.write(text)
        sys.stderr.flush()
