"""One command on one open SSH connection: its words, its input, its bounded output, its end."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import asyncssh

Stream = Literal["stdout", "stderr"]
OnLine = Callable[[Stream, str], None]

OUTPUT_LIMIT = 10 * 1024 * 1024  # bytes kept of each stream: its end
_SILENCE = 1.0  # seconds without output after which an ended command has nothing more to say
_PIECE = 256 * 1024
_LONGEST_LINE = 64 * 1024
_SESSION_MARK = b"cm-session "
_SIGNALLED = 128
_FOR_ROOT = "umask 022; export PATH=/usr/local/sbin:/usr/local/bin:$PATH\n"


def command_line(words: Sequence[str]) -> str:
    """Return the shell line for the words of a command: one word is a line, several are quoted each."""
    return words[0] if len(words) == 1 else shlex.join(words)


def framed(line: str, *, root: bool = False, sudo: bool = False) -> str:
    """Return a shell line that first tells its session on stderr, so that it can be ended later, then runs `line`.

    Args:
        line: what to run.
        root: root runs it: files that it makes are for all to read, and /usr/local is on PATH, whatever sudo is set to.
        sudo: who logs in is not root.

    """
    become = "sudo -n -- " if sudo else ""
    run = f"exec {become}bash -c {shlex.quote(_FOR_ROOT + line)}" if root else line
    return f"printf 'cm-session %s\\n' $$ >&2\n{run}"


class Output:
    """The end of a stream, and its lines as they come.

    Args:
        stream: which one it is.
        on_line: called with each line.

    """

    def __init__(self, stream: Stream, on_line: OnLine | None) -> None:
        self._stream = stream
        self._on_line = on_line
        self._kept = bytearray()
        self._dropped = 0
        self._line = bytearray()

    def feed(self, data: bytes) -> None:
        """Take more of the stream."""
        self._kept += data
        if len(self._kept) > 2 * OUTPUT_LIMIT:
            self._cut()
        if self._on_line is not None:
            self._line += data
            *lines, rest = self._line.split(b"\n")
            self._line = rest
            for line in lines:
                self._tell(line)
            if len(self._line) > _LONGEST_LINE:
                self.finish()

    def finish(self) -> None:
        """Tell the last line, which has no newline."""
        if self._line:
            self._tell(self._line)
            self._line = bytearray()

    def text(self) -> str:
        """Return what was kept; bytes that are no UTF-8 are replaced."""
        self._cut()
        note = f"[{self._dropped} bytes before this are left out]\n" if self._dropped else ""
        return note + self._kept.decode("utf-8", "replace")

    def _cut(self) -> None:
        if (excess := len(self._kept) - OUTPUT_LIMIT) > 0:
            del self._kept[:excess]
            self._dropped += excess

    def _tell(self, line: bytes | bytearray) -> None:
        if self._on_line is not None:
            text = line.decode("utf-8", "replace").rstrip("\r")
            self._on_line(self._stream, text.rpartition("\r")[2])  # as a terminal shows what is drawn over


class Command(asyncssh.SSHClientSession[bytes]):
    """A running command that was made by `framed`.

    Args:
        on_line: called with each line of both streams.
        stdout: takes the standard output instead of keeping it.

    """

    def __init__(self, on_line: OnLine | None = None, stdout: Callable[[bytes], object] | None = None) -> None:
        self.stdout = Output("stdout", on_line)
        self.stderr = Output("stderr", on_line)
        self.exited = asyncio.Event()
        self.ended = asyncio.Event()
        self.exit: int | None = None
        self.reason = ""
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.started = asyncio.Event()
        self.session: int | None = None  # its number on the node, once `started`
        self._take_stdout = stdout or self.stdout.feed
        self._silent = False
        self._preface: bytearray | None = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Begin: the channel is open."""
        self.channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Take output."""
        self._silent = False
        if datatype is None:
            self._take_stdout(data)
        elif self._preface is None:
            self.stderr.feed(data)
        else:
            self._read_preface(data)

    def exit_status_received(self, status: int) -> None:
        """Take the exit status."""
        self.exit = status
        self._exit()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Take the signal that ended the command, as a shell would report it."""
        self.exit = _SIGNALLED + _number_of(signal)
        self.reason = f"killed by SIG{signal}"
        self._exit()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the channel is closed."""
        if self._preface:
            self.stderr.feed(bytes(self._preface))
        self.stdout.finish()
        self.stderr.finish()
        if self.exit is None:
            self.reason = f"the connection was lost{f': {exc}' if exc and str(exc) else ''}"
        self.started.set()
        self._exit()
        self.ended.set()

    def pause_writing(self) -> None:
        """Stop the input: the node is slower than we are."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on with the input."""
        self._writable.set()

    async def send(self, channel: asyncssh.SSHClientChannel[bytes], stdin: bytes | Path | None) -> None:
        """Send the command's whole input, then its end; a command that ends before doesn't want it."""
        for piece in _pieces(stdin):
            await self._writable.wait()
            if self.exited.is_set() or channel.is_closing():
                return
            try:
                channel.write(piece)
            except BrokenPipeError:
                return
        if not self.exited.is_set() and not channel.is_closing():
            channel.write_eof()

    async def wait(self) -> None:
        """Wait for the end, but not for what the command left in the background with its output still open."""
        await self.exited.wait()
        while not self.ended.is_set() and not self._silent:
            self._silent = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SILENCE):
                    await self.ended.wait()
        if self.channel is not None and not self.ended.is_set():
            self.channel.abort()
            await self.ended.wait()

    def _exit(self) -> None:
        self.exited.set()
        self._writable.set()  # whoever still sends is not to wait for a reader

    def _read_preface(self, data: bytes) -> None:
        self._preface = (self._preface or bytearray()) + data
        first, newline, rest = bytes(self._preface).partition(b"\n")
        if not newline and _SESSION_MARK.startswith(first[: len(_SESSION_MARK)]):
            return
        self._preface = None
        if first.startswith(_SESSION_MARK) and first[len(_SESSION_MARK) :].strip().isdigit():
            self.session = int(first[len(_SESSION_MARK) :])
            self.started.set()
            if rest:
                self.stderr.feed(rest)
        else:
            self.stderr.feed(first + newline + rest)


def _pieces(stdin: bytes | Path | None) -> Iterator[bytes]:
    if stdin is None:
        return
    if isinstance(stdin, bytes):
        for start in range(0, len(stdin), _PIECE):
            yield stdin[start : start + _PIECE]
        return
    with stdin.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


def _number_of(name: str) -> int:
    try:
        return signal.Signals[f"SIG{name}"].value
    except KeyError:
        return 0
