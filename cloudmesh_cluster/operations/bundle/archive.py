"""Bundles: what a profile needs of `CM_CACHE`, as one archive with the digest of every file."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path

from cloudmesh_cluster.core.errors import InvalidInput, UsageError
from cloudmesh_cluster.core.events import now
from cloudmesh_cluster.core.files import is_written_through, move_to_named
from cloudmesh_cluster.core.model import Problem
from cloudmesh_cluster.operations.bundle.members import ABOUT, LAYER, check_layer, check_place
from cloudmesh_cluster.plugins.payloads import is_as_written
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from cloudmesh_cluster.providers.local.engine.images import pack_layer, unpack_layer

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Bundle:
    """What a bundle says of itself: the profile, when it was made (ISO 8601), the SHA-256 of each file by its place."""

    profile: str
    made_at: str
    files: dict[str, str]


def write_bundle(
    cache: Path, profile: str, files: Sequence[Path], layers: Sequence[Path], output: Path, progress: Progress
) -> Bundle:
    """Write files and image layers of a cache into one archive, under a temporary name until it is whole.

    Args:
        cache: the cache.
        profile: the name of the profile that needs all this.
        files: files below the cache.
        layers: folders `images/NAME` below the cache, whose files belong to the ids of the nodes.
        output: the archive to make.
        progress: told what goes on, at the end the digest of the whole bundle.

    Raises:
        UsageError: a layer can't be read, or the archive can't be written.

    """
    try:
        beside = cache if is_written_through(output) else output.parent
        with tempfile.TemporaryDirectory(prefix=".cm-bundle-", dir=beside) as name:
            folder = Path(name)
            members = {str(path.relative_to(cache)): path for path in files}
            for layer in layers:
                progress(f"packing {layer.name}")
                members[f"images/{layer.name}.tar"] = _packed_layer(cache, layer.name, folder)
            bundle = Bundle(profile, now(), {place: _sha256(path) for place, path in sorted(members.items())})
            about = folder / ABOUT
            about.write_text(json.dumps(asdict(bundle), indent=1))
            with tarfile.open(folder / "archive", "w", format=tarfile.PAX_FORMAT) as tar:
                tar.add(about, ABOUT)
                for place, path in sorted(members.items()):
                    tar.add(path, place)
            progress(f"{output.name}: SHA-256 {_sha256(folder / 'archive')}")
            move_to_named(folder / "archive", output)
    except OSError as error:
        what = f"{output} can't be written: {error.strerror or error}"
        raise UsageError(what, hint="-o FILE, where there is room") from error
    return bundle


def _packed_layer(cache: Path, name: str, folder: Path) -> Path:
    target = folder / f"{name}.tar"
    try:
        pack_layer(cache, name, target, ids=ids_of_this_user())
    except EngineError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return target


def use_bundle(file: Path, cache: Path, progress: Progress, *, sha256: str | None = None) -> Bundle:
    """Put what a bundle holds into a cache; what is there already stays.

    Args:
        file: the bundle.
        cache: the cache.
        progress: told what goes on, first the digest of the whole bundle.
        sha256: the digest that the whole bundle must have; None for any.

    Raises:
        InvalidInput: names every file whose digest is wrong; nothing was put anywhere.
        UsageError: it is no bundle, is not the one that is meant, or there is no room.

    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as opened, tempfile.TemporaryDirectory(prefix=".bundle-", dir=cache) as name:
            folder = Path(name)
            _check_digest(opened, file, sha256, progress)
            bundle = _unpacked(opened, folder)
            _check_members(bundle.files, folder, file)
            for place in bundle.files:
                _put(folder / place, cache, place, progress)
    except (tarfile.TarError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{file} is no bundle, or damaged: {error}", hint="cm bundle create makes one") from error
    except EngineError as error:
        raise UsageError(f"{file}: {error.message}", hint=error.hint) from error
    except OSError as error:
        what = f"{file} can't be used: {error.strerror or error}"
        raise UsageError(what, hint="is there room in CM_CACHE?") from error
    return bundle


def _check_digest(opened: BufferedReader, file: Path, expected: str | None, progress: Progress) -> None:
    actual = hashlib.file_digest(opened, "sha256").hexdigest()
    opened.seek(0)
    progress(f"{file.name}: SHA-256 {actual}")
    if expected is not None and actual != expected.lower():
        raise UsageError(f"{file} has the SHA-256 {actual}, expected {expected}", hint="copy the right bundle")


def _unpacked(opened: BufferedReader, folder: Path) -> Bundle:
    """Unpack the regular files of a bundle whose places are in a cache."""
    with tarfile.open(fileobj=opened, mode="r|") as tar:
        for member in tar:
            if member.name != ABOUT:
                check_place(member.name)
            content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if content is None:
                raise ValueError(f"it holds {member.name!r}, which is no file")
            (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / member.name).open("wb") as target:
                shutil.copyfileobj(content, target, 1 << 20)
    return read_about((folder / ABOUT).read_bytes())


def read_about(text: bytes) -> Bundle:
    """Return what a bundle says of itself.

    Raises:
        ValueError: it does not say it as it should.

    """
    try:
        about = json.loads(text)
        profile, made_at, files = (about[key] for key in ("profile", "made_at", "files"))
        places = {str(place): str(digest) for place, digest in files.items()}
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its {ABOUT} does not say profile, made_at and files") from error
    return Bundle(str(profile), str(made_at), places)


def _check_members(expected: Mapping[str, str], folder: Path, file: Path) -> None:
    """Compare what a bundle holds with what it says of itself, and look into the layers of images.

    Raises:
        InvalidInput: names every file whose digest is wrong.
        ValueError: a layer holds what must not be in one, or a place is none in a cache.

    """
    held = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {ABOUT}
    actual = {place: _sha256(folder / place) for place in held}
    problems = [
        Problem(f"{file}: {place}", f"SHA-256 {actual.get(place, 'missing')}, expected {expected.get(place, 'none')}")
        for place in sorted({*expected, *actual})
        if expected.get(place) != actual.get(place)
    ]
    if problems:
        raise InvalidInput(problems, hint="copy the bundle again")
    for place in sorted(held):
        if LAYER.fullmatch(place):
            check_layer(folder / place)


def _put(source: Path, cache: Path, place: str, progress: Progress) -> None:
    target = cache / place
    if layer := LAYER.fullmatch(place):
        progress(place)
        unpack_layer(cache, layer[1], source, ids=ids_of_this_user(), progress=progress)
    elif target.exists() and not _is_damaged(target):
        progress(f"{place}: is there already, and stays")
    else:
        progress(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)


def _is_damaged(target: Path) -> bool:
    """Whether a payload is one that `fetch` would make again."""
    return target.parent.name == "payloads" and not is_as_written(target.with_suffix(".tar"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
