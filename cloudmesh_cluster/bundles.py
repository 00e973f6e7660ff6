"""Bundles: what a profile needs of `CM_CACHE`, as one archive with the digest of every file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from cloudmesh_cluster.errors import InvalidInput, UsageError
from cloudmesh_cluster.events import now
from cloudmesh_cluster.model import Problem

_ABOUT = "bundle.json"
_FOLDERS = ("payloads", "conda", "debs", "images")
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
        progress: told what goes on.

    Raises:
        UsageError: a layer can't be read, or the archive can't be written.

    """
    try:
        with tempfile.TemporaryDirectory(prefix=".cm-bundle-", dir=output.parent) as name:
            folder = Path(name)
            members = {str(path.relative_to(cache)): path for path in files}
            for layer in layers:
                progress(f"packing {layer.name}")
                members[f"images/{layer.name}.tar"] = _packed_layer(layer, folder)
            bundle = Bundle(profile, now(), {place: _sha256(path) for place, path in sorted(members.items())})
            about = folder / _ABOUT
            about.write_text(json.dumps(asdict(bundle), indent=1))
            with tarfile.open(folder / "archive", "w", format=tarfile.PAX_FORMAT) as tar:
                tar.add(about, _ABOUT)
                for place, path in sorted(members.items()):
                    tar.add(path, place)
            (folder / "archive").replace(output)
    except OSError as error:
        what = f"{output} can't be written: {error.strerror or error}"
        raise UsageError(what, hint="-o FILE, where there is room") from error
    return bundle


def _packed_layer(layer: Path, folder: Path) -> Path:
    target = folder / f"{layer.name}.tar"
    words = ["tar", "-c", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--exclude", f"{layer.name}/work/*"]
    _tar([*words, "-f", str(target), "-C", str(layer.parent), layer.name], layer.name)
    return target


def _tar(words: Sequence[str], what: str) -> None:
    if os.geteuid() != 0:
        # Its files belong to ids that only root may give away or read.
        raise UsageError(f"the image {what} can be bundled and used by root only", hint="sudo cm bundle ...")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UsageError(f"the image {what} can't be packed or unpacked: {done.stderr.strip()[-300:]}")


def use_bundle(file: Path, cache: Path, progress: Progress) -> Bundle:
    """Put what a bundle holds into a cache; what is there already stays.

    Args:
        file: the bundle.
        cache: the cache.
        progress: told what goes on.

    Raises:
        InvalidInput: names every file whose digest is wrong; nothing was put anywhere.
        UsageError: it is no bundle, or there is no room.

    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=cache) as name:
            folder = Path(name)
            bundle = _unpacked(file, folder)
            problems = [
                Problem(f"{file}: {place}", f"SHA-256 {actual}, expected {digest}")
                for place, digest in bundle.files.items()
                if (actual := _sha256(folder / place) if (folder / place).is_file() else "missing") != digest
            ]
            if problems:
                raise InvalidInput(problems, hint="copy the bundle again")
            for place in bundle.files:
                progress(place)
                _put(folder / place, cache / place)
    except (tarfile.TarError, EOFError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{file} is no bundle, or damaged: {error}", hint="cm bundle create makes one") from error
    except OSError as error:
        what = f"{file} can't be used: {error.strerror or error}"
        raise UsageError(what, hint="is there room in CM_CACHE?") from error
    return bundle


def _unpacked(file: Path, folder: Path) -> Bundle:
    """Unpack the regular files of a bundle whose places are in a cache."""
    with tarfile.open(file, "r|") as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or ".." in parts or (member.name != _ABOUT and parts[0] not in _FOLDERS):
                raise ValueError(f"it holds {member.name}")
            (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / member.name).open("wb") as target:
                shutil.copyfileobj(content, target, 1 << 20)
    about = json.loads((folder / _ABOUT).read_text())
    return Bundle(str(about["profile"]), str(about["made_at"]), dict(about["files"]))


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.parent.name != "images":
        source.replace(target)
        return
    layer = target.with_suffix("")
    if layer.exists():
        return
    unfinished = source.with_suffix("")
    words = ["tar", "-x", "--numeric-owner", "--preserve-permissions", "--xattrs", "--xattrs-include=*"]
    _tar([*words, "-f", str(source), "-C", str(source.parent)], layer.name)
    target.parent.chmod(0o755)
    unfinished.rename(layer)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
