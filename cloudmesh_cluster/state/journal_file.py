"""The journal's SQLite file: every error of it becomes one that names the file and what to do next."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cloudmesh_cluster.core.errors import UsageError

T = TypeVar("T")

WAIT_SECONDS = 30
_IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class JournalFile(sqlite3.Connection):
    """A connection whose statements raise a UsageError when they fail, and return `sqlite3.Row`s."""

    file: Path

    @classmethod
    def open(cls, file: Path) -> JournalFile:
        """Open the file, for its owner only.

        Raises:
            UsageError: it can't be opened or written.

        """
        with _explained(file):
            file.touch(mode=0o600)
            file.chmod(0o600)
            opened = sqlite3.connect(file, isolation_level=None, timeout=WAIT_SECONDS, factory=cls)
        opened.file = file
        opened.row_factory = sqlite3.Row
        return opened

    def execute(self, *arguments: Any) -> _Cursor:
        """Run a statement."""
        return self.cursor(_Cursor).execute(*arguments)

    def executemany(self, *arguments: Any) -> _Cursor:
        """Run a statement for each row of values."""
        return self.cursor(_Cursor).executemany(*arguments)

    @contextmanager
    def transaction(self) -> Iterator[JournalFile]:
        """Have the block in one transaction: all of it is written, or nothing."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield self
        except BaseException:  # a transaction that is cut off by Ctrl-C, too, is taken back; raised again
            if self.in_transaction:  # a damaged file has ended it already
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def decoded(self, decode: Callable[[str], T], text: str) -> T:
        """Return what `decode` makes of a text that the journal holds.

        Raises:
            UsageError: the text is not what was written.

        """
        try:
            return decode(text)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise _damaged(self.file, f"it holds {str(text)[:40]!r}") from error


class _Cursor(sqlite3.Cursor):
    """A cursor whose errors are explained, while a statement runs and while its rows are read."""

    connection: JournalFile

    def execute(self, *arguments: Any) -> _Cursor:
        with _explained(self.connection.file):
            super().execute(*arguments)
        return self

    def executemany(self, *arguments: Any) -> _Cursor:
        with _explained(self.connection.file):
            super().executemany(*arguments)
        return self

    def fetchone(self) -> Any:
        with _explained(self.connection.file):
            return super().fetchone()

    def __next__(self) -> Any:
        with _explained(self.connection.file):
            return super().__next__()


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(file, error) from error
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # what was to be written is wrong, not the file
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest tells more of the same
        if code in _IN_USE:
            raise UsageError(f"the journal {file} is in use: {error}", hint="try again in a moment") from error
        if code in _NO_ROOM:
            raise UsageError(
                f"the journal {file} can't be used: {error}", hint=f"make room: df -h {shlex.quote(str(file.parent))}"
            ) from error
        raise (_unusable if code in _NOT_WRITABLE else _damaged)(file, error) from error


def _unusable(file: Path, error: object) -> UsageError:
    return UsageError(f"the journal {file} can't be used: {error}", hint="set CM_HOME to a folder of your own")


def _damaged(file: Path, error: object) -> UsageError:
    name = shlex.quote(str(file))
    aside = f"mv {name} {shlex.quote(f'{file}.damaged')}"
    # In a new journal no cluster is known, and gc takes what belongs to none.
    hint = f"put a copy of it back; if there is none: {aside}, and cm cluster import what a cloud has before any cm gc"
    return UsageError(f"the journal {file} can't be used, it is damaged: {error}", hint=hint)
