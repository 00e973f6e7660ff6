"""Where payloads come from: Maven, or an archive, a folder or an address that the user names instead."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.plugins.model import ChosenPlugin, Payload, Plugin

Progress = Callable[[str], None]
_CHUNK = 1 << 20
_PAUSE = 2.0  # seconds between two lines of progress
_TIMEOUT = 60.0  # seconds of silence from a server


def unpack_maven(plugin: Plugin, payload: Payload, content: Path, *, progress: Progress) -> None:
    """Let Maven fill a folder with what a plugin's `pom` names.

    Raises:
        UsageError: there is no Maven, or it fails.

    """
    setting = f"--set {plugin.name}.{payload.source}=PATH|URL"
    mvn = shutil.which("mvn")
    if mvn is None:
        raise UsageError(
            f"{plugin.name} is fetched by Maven, and there is no mvn on this machine",
            hint=f"apt-get install maven, or name an archive: {setting}",
        )
    words = [mvn, "--batch-mode", "--file", str(plugin.folder / payload.pom), "generate-resources"]
    files = 0

    def count(line: str) -> str:
        nonlocal files
        files += ".jar (" in line and "Downloaded" in line
        return f"Maven: {files} jars downloaded" if files else ""

    status, last = run_fetcher([*words, f"-Dpayload={content}"], count, progress, complains="[ERROR]")
    shutil.rmtree(content / ".markers", ignore_errors=True)
    if status != 0:
        raise UsageError(f"Maven can't fetch {plugin.name}: {last}", hint=without_network(setting))


def without_network(setting: str) -> str:
    """Return what to do where this machine reaches no package index; `setting` names an archive instead."""
    return f"if this machine has no way out: cm bundle use FILE (made elsewhere by cm bundle create), or {setting}"


def run_fetcher(
    words: list[str], told_by: Callable[[str], str], progress: Progress, *, complains: str
) -> tuple[int, str]:
    """Run a program that fetches something; return its status and its first complaint, or its last words.

    Args:
        words: the program and its arguments.
        told_by: takes each line that it prints, and returns what the user may be told about it by now.
        progress: is called with that now and then.
        complains: what a complaint begins with.

    """
    # Where the system can, the program ends with this process, however that ends.
    setpriv = shutil.which("setpriv")
    process = subprocess.Popen(
        [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    told, complaint = time.monotonic(), ""
    tail: deque[str] = deque(maxlen=3)
    try:
        for line in process.stdout or ():
            tail.append(line.strip())
            if line.startswith(complains) and not complaint:
                complaint = line.removeprefix(complains).strip()
            if (news := told_by(line)) and time.monotonic() - told > _PAUSE:
                told = time.monotonic()
                progress(news)
        return process.wait(), complaint or " ".join(tail)
    finally:
        process.kill()
        process.wait()


def unpack_source(
    source: str, content: Path, payload: Payload, plugin: str, *, digest: str, progress: Progress
) -> None:
    """Fill a folder with the files of an archive or a folder, where the plugin's rules place them.

    Args:
        source: a path, or an address (http, https).
        content: the folder to fill.
        payload: whose rules apply.
        plugin: its name, for messages.
        digest: the SHA-256 or SHA-512 that the archive must have; empty for any.
        progress: is called with lines for the user.

    Raises:
        UsageError: the source can't be read, has another digest, or holds nothing that the plugin can use.

    """
    path = _local(source, content.parent, plugin, progress)
    if digest:
        _check_digest(path, digest, plugin, source)
    progress(f"{plugin}: from {source}")
    try:
        found = keep_members(path, content, payload)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UsageError(f"{plugin}: {source} is no archive, or damaged: {error}") from error
    if not found:
        raise UsageError(
            f"{plugin}: nothing in {source} is of use",
            hint="a tar archive or a folder with jars, as Apache publishes it or as cm keeps it in CM_CACHE/payloads",
        )


def unprotected_source(chosen: ChosenPlugin) -> str:
    """Return what to say where a source comes over plain HTTP and no digest pins it; empty where all is well."""
    payload = chosen.plugin.payload
    source = str(chosen.settings.get(payload.source) or "") if payload else ""
    if payload is None or not source.lower().startswith("http://") or chosen.settings.get(payload.digest):
        return ""
    name = chosen.plugin.name
    return (
        f"{name}: {source} is neither encrypted nor pinned: whoever is on the way decides what runs on all nodes"
        f" ({name}.{payload.digest}=SHA-256)"
    )


def identity(source: str, *, plugin: str) -> str:
    """Return what tells a source from another one, and from itself after a change.

    Raises:
        UsageError: there is no such file.

    """
    if _is_address(source):
        return source
    path = Path(source).expanduser().absolute()
    try:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        marks = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError as error:
        raise UsageError(f"{plugin}: {source}: {error.strerror}") from error
    return repr(marks)


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _local(source: str, folder: Path, plugin: str, progress: Progress) -> Path:
    if not _is_address(source):
        return Path(source).expanduser().absolute()
    path = folder / "download"
    try:
        # The scheme is http or https, see _is_address.
        with urllib.request.urlopen(source, timeout=_TIMEOUT) as answer, path.open("wb") as file:  # noqa: S310
            _copy(answer, file, int(answer.headers.get("Content-Length") or 0), source, progress)
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UsageError(f"{plugin}: {source} can't be downloaded: {reason}") from error
    return path


def _copy(answer: IO[bytes], file: IO[bytes], size: int, source: str, progress: Progress) -> None:
    told, done = time.monotonic(), 0
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        if time.monotonic() - told > _PAUSE:
            told = time.monotonic()
            progress(f"{source}: {done >> 20}" + (f" of {size >> 20} MB" if size else " MB"))
    if size and done != size:
        raise ConnectionError(f"it ended after {done} of {size} bytes")


def _check_digest(path: Path, expected: str, plugin: str, source: str) -> None:
    expected = expected.lower()
    kind = {64: "sha256", 128: "sha512"}.get(len(expected))
    if kind is None or path.is_dir():
        raise UsageError(
            f"{plugin}: the digest {expected!r} can't be checked",
            hint="a SHA-256 or SHA-512 in hexadecimal digits, of one file",
        )
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, kind).hexdigest()
    if actual != expected:
        raise UsageError(f"{plugin}: {source}: expected {kind} {expected}, got {actual}")


def keep_members(path: Path, content: Path, payload: Payload) -> int:
    """Place the files of a folder or an archive as the plugin's rules say, and return how many were kept."""
    return sum(_keep(name, file, content, payload) for name, file in _members(path))


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the names and contents of the regular files in a folder or an archive."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                with file.open("rb") as opened:
                    yield str(file.relative_to(path)), opened
        return
    with tarfile.open(path, "r|*") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name.removeprefix("./"), content


def _keep(name: str, file: IO[bytes], content: Path, payload: Payload) -> bool:
    """Write a file where the first rule that fits its name places it; the first of two in one place stays."""
    for rule in payload.keep:
        if match := re.fullmatch(rule.pattern, name):
            place = match.expand(rule.place)
            break
    else:
        return False
    if not place or ".." in PurePosixPath(place).parts or place.startswith("/") or (content / place).exists():
        return False
    (content / place).parent.mkdir(parents=True, exist_ok=True)
    with (content / place).open("wb") as kept:
        shutil.copyfileobj(file, kept, _CHUNK)
    return True
