"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError


def make_private(folder: Path) -> None:
    """Make a folder and the parents that are missing, readable for their owner only."""
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)


def append_private(path: Path, text: str) -> None:
    """Append to a file that nobody but its owner can read, made when it is missing."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8", errors="replace") as file:
        file.write(text)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # whatever cut it off, Ctrl-C too, leaves no half a file behind; raised again
        temporary.unlink(missing_ok=True)
        raise


def is_written_through(path: Path) -> bool:
    """Return whether a path is a link, a device or a pipe, which no new file may take the place of."""
    return path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir())


def would_be_lost(path: Path) -> bool:
    """Return whether writing to a path would overwrite a file, also one behind a link."""
    return path.is_file() or path.is_dir()


def write_named(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file that a user named: whole if it is a regular file or new, else through what is there."""
    if is_written_through(path):
        path.write_bytes(content)
    else:
        write_atomically(path, content, mode=mode)


def move_to_named(source: Path, path: Path) -> None:
    """Give a finished file the path that a user named; where a link, a device or a pipe is, copy it through that."""
    if not is_written_through(path):
        source.replace(path)
        return
    with source.open("rb") as finished, path.open("wb") as target:
        shutil.copyfileobj(finished, target)


def read_named(path: str) -> bytes:
    """Return the content of a file that a user named.

    Raises:
        UsageError: it cannot be read.

    """
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}", hint="name a file that you can read") from None
