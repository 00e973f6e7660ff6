"""Looking for private keys where none may be: in files, and in what processes are started with."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PAUSE = 0.03


def spellings(private: bytes) -> list[bytes]:
    """Return what betrays an Ed25519 key in OpenSSH's format: its secret half, as it is and encoded.

    First raw, then as hex, in base64, and in base64 of the file that holds base64 (as user data has it). Line ends are
    left out of what is searched (see `holds`), so they are left out here, too.
    """
    key = serialization.load_ssh_private_key(private, password=None)
    assert isinstance(key, Ed25519PrivateKey)
    secret = key.private_bytes_raw()
    once = _in_base64(secret)
    body = private.replace(b"\n", b"")
    (written,) = (spelling for spelling in once if spelling in body)
    whole = [line for line in private.split(b"\n") if line and (line in written or written[:20] in line)]
    assert whole, "the secret half begins in some line"
    return [secret, secret.hex().encode(), *once, *_in_base64(whole[0])]


def _in_base64(data: bytes) -> list[bytes]:
    """Return the inner part of `data` in base64, however it is aligned in what is encoded with it."""
    return [base64.b64encode(b"\0" * shift + data)[4:-4] for shift in range(3)]


def holds(content: bytes, needles: Iterable[bytes]) -> bool:
    """Return whether one of the needles is in a text, wherever its lines are broken."""
    joined = re.sub(rb"\\n|\s", b"", content)
    return any(needle in content or needle in joined for needle in needles)


def files_that_hold(folder: Path, needles: list[bytes]) -> list[str]:
    """Return the files below a folder, relative to it, that can be read and hold one of the needles."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink() and holds(path.read_bytes(), needles):
                found.append(str(path.relative_to(folder)))
        except PermissionError:
            continue  # a file of a node's own users, which only root of this machine or of the node can read
    return sorted(found)


@dataclass
class Watch:
    """What was seen while something ran: what processes were started with, and files that came and went."""

    started_with: set[bytes] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)

    def look(self, folder: Path, pattern: str) -> None:
        """Look once at all processes, and at the files in a folder."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                for name in ("cmdline", "environ"):
                    try:
                        self.started_with.add((entry / name).read_bytes())
                    except OSError:
                        continue
        for path in folder.glob(pattern):
            try:
                self.files[path.name] = path.read_bytes() or self.files.get(path.name, b"")
            except OSError:
                continue


@contextmanager
def watching(folder: Path, pattern: str) -> Iterator[Watch]:
    """Look at all processes, and at the files of a folder, again and again while the block runs."""
    watch, done = Watch(), threading.Event()

    def look_on() -> None:
        while not done.wait(PAUSE):
            watch.look(folder, pattern)

    thread = threading.Thread(target=look_on)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()


def wait_until(seen: Callable[[], bool], *, seconds: float = 5.0) -> bool:
    """Wait until something is so; return whether it came to be."""
    deadline = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True
