"""What plugins install that Debian has not: fetched once by the client, checked, kept in `CM_CACHE` as one archive."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from cloudmesh_cluster.core.errors import InvalidInput, UsageError
from cloudmesh_cluster.core.files import make_private
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Problem
from cloudmesh_cluster.plugins.model import ChosenPlugin, Payload
from cloudmesh_cluster.plugins.payload_pip import unpack_pip
from cloudmesh_cluster.plugins.payload_sources import identity, unpack_maven, unpack_source, unprotected_source
from cloudmesh_cluster.state.locks import only_one

Progress = Callable[[str], None]
_CHUNK = 1 << 20
_SHOWN = 12  # hexadecimal digits of a digest that make a file's name


def fetch(chosen: ChosenPlugin, home: Home, progress: Progress) -> Path | None:
    """Return the archive of a plugin's payload, None when the plugin has none; parts of a plugin have the same.

    The archive is made once for all clusters of this user, by one process at a time, and renamed when it is whole.

    Args:
        chosen: the plugin and its settings, which may name another source.
        home: whose cache.
        progress: is called with lines for the user while something is fetched.

    Raises:
        UsageError: the source can't be used, or the disk is full.
        InvalidInput: names every file whose digest is wrong, with both digests.

    """
    payload = chosen.plugin.payload
    if payload is None:
        return None
    folder = home.cache / "payloads"
    source = str(chosen.settings.get(payload.source) or "")
    target = folder / f"{_archive_name(chosen, payload, source)}.tar"
    try:
        make_private(folder)
        with only_one(folder / f"{chosen.plugin.whole}.lock"):
            if not _is_whole(chosen, payload, source, target, progress):
                _make(chosen, payload, source, target, progress)
    except OSError as error:
        raise UsageError(
            f"payload of {chosen.plugin.name}: {error.filename or target}: {error.strerror or error}",
            hint=f"make room, or set CM_CACHE to another folder than {home.cache}",
        ) from error
    return target


def missing_payloads(chosen: Sequence[ChosenPlugin], home: Home) -> list[str]:
    """Return the payloads that `fetch` would have to make, in words."""
    missing = []
    for each in chosen:
        if (payload := each.plugin.payload) is None:
            continue
        source = str(each.settings.get(payload.source) or "")
        if not (home.cache / "payloads" / f"{_archive_name(each, payload, source)}.tar").is_file():
            origin = "the source that you named" if source else "PyPI" if payload.kind == "pip" else "Maven"
            missing.append(f"{each.plugin.whole} {'' if source else each.plugin.version + ' '}from {origin}")
    return missing


def _archive_name(chosen: ChosenPlugin, payload: Payload, source: str) -> str:
    """Whatever decides what is in the archive decides its name."""
    folder, digest = chosen.plugin.folder, str(chosen.settings.get(payload.digest) or "")
    parts = {
        "source": identity(source, plugin=chosen.plugin.name) if source else "",
        "digest": digest,
        "keep": [[rule.pattern, rule.place] for rule in payload.keep] if source or payload.kind == "pip" else [],
        "pom": (folder / payload.pom).read_text() if payload.pom and not source else "",
        "lock": "" if source else (folder / payload.lock).read_text(),
    }
    if payload.kind == "pip":
        parts |= {"python": payload.python, "machine": platform.machine()}
    shown = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_SHOWN]
    version = "" if source else f"-{chosen.plugin.version}"
    return f"{chosen.plugin.whole}{version}-{shown}"


def _make(chosen: ChosenPlugin, payload: Payload, source: str, target: Path, progress: Progress) -> None:
    for old in target.parent.glob(f".{chosen.plugin.whole}-*"):
        # The lock is ours: whoever made it is dead.
        shutil.rmtree(old, ignore_errors=True)
    if warning := unprotected_source(chosen):
        progress(warning)
    with tempfile.TemporaryDirectory(prefix=f".{chosen.plugin.whole}-", dir=target.parent) as name:
        temporary = Path(name)
        content = temporary / "content"
        content.mkdir()
        if source:
            digest = str(chosen.settings.get(payload.digest) or "")
            unpack_source(source, content, payload, chosen.plugin.name, digest=digest, progress=progress)
        elif payload.kind == "pip":
            progress(f"{chosen.plugin.whole} {chosen.plugin.version}: from PyPI, once for all clusters")
            unpack_pip(chosen.plugin, payload, content, progress=progress)
        else:
            progress(f"{chosen.plugin.whole} {chosen.plugin.version}: from Maven, once for all clusters")
            unpack_maven(chosen.plugin, payload, content, progress=progress)
            _check(chosen, payload, content)
        archive = temporary / target.name
        pack(content, archive)
        _digest_file(target).write_text(_sha256(archive))
        archive.replace(target)
    progress(f"{target.name}: {target.stat().st_size >> 20} MB")


def _check(chosen: ChosenPlugin, payload: Payload, content: Path) -> None:
    """Compare the files with the lock file, and raise all differences at once."""
    lock = chosen.plugin.folder / payload.lock
    expected = read_lock(lock)
    actual = {path: _sha256(content / path) for path in _files(content)}
    problems = [
        Problem(f"payload of {chosen.plugin.name}: {path}", f"{_is(actual, path)}, expected {_is(expected, path)}")
        for path in sorted({*expected, *actual})
        if expected.get(path) != actual.get(path)
    ]
    if problems:
        raise InvalidInput(problems, hint=f"the digests are in {lock}; remove what Maven keeps of it, and try again")


def archive_files(archive: Path) -> list[Path]:
    """Return the files that make up an archive which `fetch` has returned."""
    return [archive, _digest_file(archive)]


def read_lock(lock: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a lock file lists, in the format of `sha256sum`.

    Raises:
        InvalidInput: names all lines that are none of it.

    """
    digests: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        digest, space, path = line.partition("  ")
        if not space or len(digest) != hashlib.sha256().digest_size * 2:
            problems.append(Problem(f"{lock}:{number}", "expected a SHA-256, two blanks, and the path of a file"))
        digests[path] = digest
    if problems:
        raise InvalidInput(problems)
    return digests


def pack(content: Path, archive: Path) -> None:
    """Write the files of a folder into an archive whose bytes depend on nothing but names and contents.

    It isn't compressed: jars are already.
    """
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in _files(content):
            with (content / path).open("rb") as file:
                tar.addfile(_member(path, (content / path).stat().st_size), file)


def _member(path: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.size, member.mode = size, 0o644
    return member


def _is_whole(chosen: ChosenPlugin, payload: Payload, source: str, target: Path, progress: Progress) -> bool:
    """Whether the archive is there as it must be: as its lock file pins it, else as it was written.

    Nodes can't tell a damaged one, and not everything in the cache was put there by `fetch`.
    """
    if not target.exists() or not _digest_file(target).exists():
        return False
    if payload.kind == "maven" and not source:
        whole = holds_what_is_locked(target, read_lock(chosen.plugin.folder / payload.lock))
    else:
        whole = is_as_written(target)
    if not whole:
        progress(f"{target} is damaged and made again")
    return whole


def is_as_written(archive: Path) -> bool:
    """Whether an archive of the cache, and the file with its digest, are there and fit each other."""
    try:
        return _digest_file(archive).read_text() == _sha256(archive)
    except FileNotFoundError:
        return False


def holds_what_is_locked(archive: Path, lock: Mapping[str, str]) -> bool:
    """Whether an archive is, byte for byte, what `pack` makes of the files that a lock file lists."""
    expected = sorted(lock)
    try:
        with tarfile.open(archive, "r:") as tar, archive.open("rb") as file:
            for member in tar:
                if not expected or member.name != expected.pop(0) or member.size < 0:
                    return False
                header = _member(member.name, member.size).tobuf(tarfile.PAX_FORMAT)
                if file.read(len(header)) != header or _sha256_of(file, member.size) != lock[member.name]:
                    return False
            end = file.tell()
            zeros = 2 * tarfile.BLOCKSIZE + -(end + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE
            return not expected and file.read(zeros + 1) == bytes(zeros)
    except (tarfile.TarError, EOFError, ValueError):
        return False


def _sha256_of(file: BinaryIO, size: int) -> str:
    """Return the digest of the next bytes of a file, and step over the zeros after them."""
    digest, left = hashlib.sha256(), size
    while chunk := file.read(min(left, _CHUNK)):
        digest.update(chunk)
        left -= len(chunk)
    padding = file.read(-size % tarfile.BLOCKSIZE)
    return "" if left or any(padding) else digest.hexdigest()


def _digest_file(target: Path) -> Path:
    return target.with_suffix(".sha256")


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is(digests: Mapping[str, str], path: str) -> str:
    return f"SHA-256 {digests[path]}" if path in digests else "no such file"
