"""The read-only layers below every node's disk: built once, cached, shared by all clusters of a user.

A layer is a folder `images/<kind>-<digest>/rootfs`. It is built as `.<kind>-<digest>.unfinished` under a lock and
renamed when it is complete, so that a killed build leaves nothing but what the next one removes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

from cloudmesh_cluster.providers.local.engine import builds, rootfs, tuning, userns
from cloudmesh_cluster.providers.local.engine.errors import EngineError, no_space
from cloudmesh_cluster.providers.local.engine.ids import Ids
from cloudmesh_cluster.providers.local.engine.launch import run_inside

Progress = Callable[[str], None]
_A_WHILE = 0.2


def silent(line: str) -> None:
    """Listen to no progress."""


def always() -> bool:
    """Want it to the end."""
    return True


def images_folder(cache: Path) -> Path:
    """Return the folder of all layers below the cache folder; it is made when it's not there."""
    folder = cache / "images"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def close_to_others(folder: Path, ids: Ids) -> None:
    """Let this user and root of the nodes alone walk to the layers: their setuid programs are for nobody else.

    Args:
        folder: that of all layers.
        ids: the ids that own the files in them.

    """
    if os.geteuid() == 0:
        os.chown(folder, -1, ids.root[1])
    folder.chmod(0o710 if os.geteuid() == 0 else 0o700)


def ensure_base(
    cache: Path,
    *,
    ids: Ids,
    source: Path | None = None,
    mirror: str | None = None,
    progress: Progress = silent,
    still_wanted: Callable[[], bool] = always,
) -> tuple[Path, ...]:
    """Return the layers of the base image, topmost first; what is not in the cache is built.

    Args:
        cache: the cache folder.
        ids: the ids that own the files (`ids_of_this_user()`).
        source: a tarball of a root file system to take instead of building one with mmdebstrap.
        mirror: an apt mirror for mmdebstrap instead of its default.
        progress: told in single lines what goes on.
        still_wanted: asked a few times a second; the build ends, and leaves nothing, when it says no.

    Raises:
        EngineError: mmdebstrap is missing or failed, the tarball is corrupt, or the disk is full.

    """
    shelf = _Shelf(cache, ids, progress, still_wanted)
    if source is None:
        recipe = {"suite": builds.SUITE, "packages": builds.PACKAGES, "mirror": mirror}
        base = shelf.ensure("base", recipe, lambda layer: _bootstrap(shelf, layer, mirror=mirror))
    else:
        base = shelf.ensure("base", _tarball_recipe(source), lambda layer: _unpack(shelf, layer, source))
    files = tuning.files()
    return (shelf.ensure("tuning", files, lambda layer: _write_files(shelf, layer, files)), base)


def ensure_layer(
    cache: Path,
    base: tuple[Path, ...],
    packages: Sequence[str],
    *,
    ids: Ids,
    progress: Progress = silent,
    still_wanted: Callable[[], bool] = always,
) -> tuple[Path, ...]:
    """Return `base` with a layer on top that has Debian packages installed; it is built when not cached.

    Args:
        cache: the cache folder.
        base: what `ensure_base` returned.
        packages: names of packages; none: no layer is added.
        ids: the ids that own the files.
        progress: told in single lines what goes on.
        still_wanted: asked a few times a second; the build ends, and leaves nothing, when it says no.

    Raises:
        EngineError: apt failed (the message ends with what it said), or the disk is full.

    """
    wanted = sorted(set(packages))
    if not wanted:
        return base
    shelf = _Shelf(cache, ids, progress, still_wanted)
    lowest = str(base[-1].relative_to(shelf.folder))

    def build(layer: Path) -> None:
        progress(f"installing {' '.join(wanted)} into a layer of the node image (once)")
        arguments = {"packages": wanted, "proxies": apt_proxies()}
        with _explained(f"the packages {' '.join(wanted)} can't be installed"):
            shelf.run(builds.install_packages, layer, arguments, below=base)

    # What makes a node of the base may change without the packages having to be installed anew.
    return (shelf.ensure("layer", [lowest, wanted], build), *base)


def ensure_debs(
    cache: Path,
    base: tuple[Path, ...],
    packages: Sequence[str],
    *,
    release: str,
    ids: Ids,
    progress: Progress = silent,
) -> Path:
    """Return a folder with Debian packages and all that they need, and an index for apt.

    Args:
        cache: the cache folder.
        base: what `ensure_base` returned.
        packages: names of packages.
        release: the code name of their release.
        ids: the ids that own the files.
        progress: told in single lines what goes on.

    Raises:
        EngineError: apt failed (the message ends with what it said), or the disk is full.

    """
    wanted = sorted(set(packages))
    shelf = _Shelf(cache, ids, progress, always)
    lowest = str(base[-1].relative_to(shelf.folder))

    def build(layer: Path) -> None:
        progress(f"fetching {' '.join(wanted)} of {release}, with all that they need")
        arguments = {"packages": wanted, "release": release, "proxies": apt_proxies()}
        with _explained(f"the packages {' '.join(wanted)} can't be fetched"):
            shelf.run(builds.download_packages, layer, arguments, below=base)

    return shelf.ensure("debs", [lowest, wanted, release], build) / "debs"


def pack_layer(cache: Path, name: str, target: Path, *, ids: Ids) -> None:
    """Pack a layer of the cache into a new file.

    Args:
        cache: the cache folder.
        name: of the layer's folder.
        target: the archive to make.
        ids: the ids that own the layer's files; in the archive they are those that nodes see.

    Raises:
        EngineError: the layer can't be read, or the disk is full.

    """
    shelf = _Shelf(cache, ids, silent, always)
    with target.open("x+b") as file, _explained(f"the image {name} can't be packed"):
        shelf.run(builds.pack_layer, shelf.folder / name, {}, stdin=file)


def unpack_layer(cache: Path, name: str, archive: Path, *, ids: Ids, progress: Progress = silent) -> None:
    """Put what `pack_layer` made into the cache, if there is no such layer yet.

    It is unpacked by root of the nodes, who can make no device of this machine and has no other ids than theirs.

    Args:
        cache: the cache folder.
        name: of the layer's folder.
        archive: the archive.
        ids: the ids that will own the layer's files.
        progress: told in single lines what goes on.

    Raises:
        EngineError: it can't be unpacked, or the disk is full; no layer is left.

    """
    shelf = _Shelf(cache, ids, progress, always)

    def build(unfinished: Path) -> None:
        with archive.open("rb") as file, _explained(f"the image {name} can't be unpacked"):
            shelf.run(builds.unpack_layer, unfinished, {}, stdin=file)

    shelf.ensure_named(name, build)


def missing(
    cache: Path, packages: Sequence[str], *, ids: Ids, source: Path | None = None, mirror: str | None = None
) -> list[str]:
    """Return what `ensure_base` and `ensure_layer` would have to build, in words; touches nothing."""
    own = {"suite": builds.SUITE, "packages": builds.PACKAGES, "mirror": mirror}
    recipe = _tarball_recipe(source) if source else own
    base, wanted = _name("base", recipe, ids), sorted(set(packages))
    layer = _name("layer", [f"{base}/rootfs", wanted], ids)
    words = {base: "the node image (about 250 MB)" if source is None else f"a node image of {source}"}
    words |= {layer: f"in the node image: {' '.join(wanted)}"} if wanted else {}
    return [what for name, what in words.items() if not (cache / "images" / name).is_dir()]


def _name(kind: str, recipe: object, ids: Ids) -> str:
    key = json.dumps([recipe, asdict(ids)], sort_keys=True)
    return f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


class _Shelf:
    """The folder of the layers, and how something new gets there."""

    def __init__(self, cache: Path, ids: Ids, progress: Progress, still_wanted: Callable[[], bool]) -> None:
        with _disk_errors(cache):
            self.folder = images_folder(cache)
            close_to_others(self.folder, ids)
        self._ids = ids
        self.progress = progress
        self._still_wanted = still_wanted

    def ensure(self, kind: str, recipe: object, build: Callable[[Path], None]) -> Path:
        """Return the root file system of a layer, built first when there is none of this recipe."""
        return self.ensure_named(_name(kind, recipe, self._ids), build)

    def ensure_named(self, name: str, build: Callable[[Path], None]) -> Path:
        """Return the root file system of a layer, built first when there is none of this name."""
        final = self.folder / name
        if not final.is_dir():
            with _disk_errors(self.folder), self._lock():
                if not final.is_dir():
                    self._build(f".{name}.unfinished", build).rename(final)
        with contextlib.suppress(OSError):  # somebody else's cache
            os.utime(final)  # when it was last used
        return final / "rootfs"

    def run(
        self,
        job: Callable[..., None],
        layer: Path,
        arguments: Mapping[str, object],
        *,
        below: Sequence[Path] = (),
        stdin: IO[bytes] | None = None,
    ) -> None:
        """Run a job that sees the folder of the layer that it makes, and those of the layers below it."""
        lower = {f"below{number}": folder for number, folder in enumerate(below)}
        run_inside(
            job,
            {**arguments, "below": list(lower)} if lower else arguments,
            ids=self._ids,
            folders={"layer": layer, **lower},
            marker=self.folder,
            stdin=stdin,
            on_line=self.progress,
            still_wanted=self._still_wanted,
        )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.folder / ".lock").open("a", encoding="utf-8") as file:
            if not _locked(file):
                self.progress("waiting for another process that builds an image")
                while not _locked(file):
                    if not self._still_wanted():
                        raise EngineError("interrupted")
                    time.sleep(_A_WHILE)
            yield

    def _build(self, name: str, build: Callable[[Path], None]) -> Path:
        for killed in self.folder.glob(".*.unfinished"):
            self._remove(killed)
        unfinished = self.folder / name
        try:
            for folder in (unfinished, unfinished / "rootfs", unfinished / "work"):
                folder.mkdir()
                folder.chmod(0o755)
            for part in ("rootfs", "work"):
                os.chown(unfinished / part, *self._ids.root)
            build(unfinished)
        except BaseException:  # whatever cut it off, Ctrl-C too, leaves no half an image behind; raised again
            self._remove(unfinished)
            raise
        return unfinished

    def _remove(self, unfinished: Path) -> None:
        remove_folder(self.folder, unfinished, ids=self._ids)


def remove_folder(images: Path, folder: Path, *, ids: Ids) -> None:
    """Remove a layer, or what an unfinished build has left of one; what is gone already is no error."""
    if folder.is_dir():  # What is in it belongs to ids that only a user namespace gives rights over.
        paths = [f"{builds.LAYER}/{part}" for part in ("rootfs", "work") if (folder / part).is_dir()]
        run_inside(rootfs.remove_contents, {"paths": paths}, ids=ids, folders={"layer": folder}, marker=images)
        shutil.rmtree(folder)


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_space(str(folder)) from error
        raise EngineError(f"images can't be kept in {folder}: {error}", "set CM_CACHE to another folder") from error


@contextlib.contextmanager
def _explained(what: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise EngineError(f"{what}: {error.message}", error.hint or hint) from error


def _bootstrap(shelf: _Shelf, layer: Path, *, mirror: str | None) -> None:
    if shutil.which("mmdebstrap", path=userns.PATH) is None:
        raise EngineError(
            "mmdebstrap is missing, which builds the image of the nodes",
            "apt-get install mmdebstrap; or give the tarball of an image",
        )
    shelf.progress("building the image of the nodes with mmdebstrap (once)")
    with _explained("the image of the nodes can't be built"):
        shelf.run(builds.bootstrap, layer, {"mirror": mirror})


def _tarball_recipe(source: Path) -> dict[str, object]:
    try:
        status = source.stat()
    except OSError as error:
        raise EngineError(f"the image {source} can't be read: {error.strerror}") from error
    return {"tarball": str(source.resolve()), "size": status.st_size, "time": status.st_mtime_ns}


def _unpack(shelf: _Shelf, layer: Path, source: Path) -> None:
    shelf.progress(f"unpacking {source}")
    hint = "give the complete tarball of a Debian root file system with openssh-server and cloud-init"
    with source.open("rb") as tarball, _explained(f"the image {source} can't be used", hint):
        shelf.run(builds.unpack, layer, {}, stdin=tarball)


def _write_files(shelf: _Shelf, layer: Path, files: tuning.Files) -> None:
    with tempfile.TemporaryFile() as listing:
        listing.write(json.dumps(files).encode())
        listing.seek(0)
        shelf.run(builds.write_files, layer, {}, stdin=listing)


def apt_proxies() -> list[str]:
    """Return the proxies that this machine's apt is told to use, as options (NAME=VALUE) for apt-get."""
    program = shutil.which("apt-config", path=userns.PATH)
    if program is None:
        return []
    dump = subprocess.run([program, "dump", "--no-empty"], capture_output=True, text=True, check=False).stdout
    return tuning.proxy_options(dump.splitlines())
