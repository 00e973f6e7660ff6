"""The layers below the nodes' disks: what can go wrong while they are built, and that it leaves no junk."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster.providers.local.engine import images, userns
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from cloudmesh_cluster.providers.local.engine.processes import marked_processes

PACKAGE = "figlet"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with room for 40 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "small", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def layers_in(cache: Path) -> list[str]:
    """Return what lies in the folder of layers, finished or not."""
    return sorted(path.name for path in (cache / "images").iterdir() if path.name != ".lock")


def test_packages_go_into_a_layer_once(cm_cache: Path) -> None:
    """A layer with packages lies above the base, without the base in it, and the second call builds nothing."""
    said: list[str] = []
    ids = ids_of_this_user()
    base = images.ensure_base(cm_cache, ids=ids)
    top, *below = images.ensure_layer(cm_cache, base, [PACKAGE], ids=ids)
    again = images.ensure_layer(cm_cache, base, [PACKAGE, PACKAGE], ids=ids, progress=said.append)

    assert base == tuple(below)
    assert base == images.ensure_layer(cm_cache, base, [], ids=ids)
    assert (top, *below) == again
    assert [] == said
    assert (top / "usr" / "bin" / PACKAGE).is_symlink()
    assert not (top / "usr" / "bin" / "python3").exists()


def test_an_unknown_package_says_so(cm_cache: Path) -> None:
    """The error has apt's own line, and nothing of the layer is left."""
    ids = ids_of_this_user()
    base = images.ensure_base(cm_cache, ids=ids)
    before = layers_in(cm_cache)

    with pytest.raises(EngineError, match="Unable to locate package no-such-package"):
        images.ensure_layer(cm_cache, base, ["no-such-package"], ids=ids)

    assert before == layers_in(cm_cache)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"junk" * 5000, "does not look like a tar"), (b"\x1f\x8b\x08\0", "unexpected end of file")],
)
def test_a_corrupt_tarball_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """The error names the file and what to give instead; nothing of it is kept."""
    tarball = tmp_path / "image.tar"
    tarball.write_bytes(content)

    with pytest.raises(EngineError, match=message) as raised:
        images.ensure_base(tmp_path, ids=ids_of_this_user(), source=tarball)

    assert str(tarball) in raised.value.message
    assert "complete tarball" in raised.value.hint
    assert [] == layers_in(tmp_path)


def test_a_tarball_without_sshd_is_refused(tmp_path: Path) -> None:
    """A root file system that can't become a node is found out while it is unpacked, not when nothing answers."""
    (tmp_path / "etc").mkdir()
    with tarfile.open(tmp_path / "image.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "etc", "etc")

    with pytest.raises(EngineError, match="it has no usr/sbin/sshd"):
        images.ensure_base(tmp_path, ids=ids_of_this_user(), source=tmp_path / "image.tar.gz")
    with pytest.raises(EngineError, match="No such file"):
        images.ensure_base(tmp_path, ids=ids_of_this_user(), source=tmp_path / "never.tar")


def test_a_missing_mmdebstrap_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mmdebstrap the error names the package to install; with a cached image nobody misses it."""
    ids = ids_of_this_user()
    monkeypatch.setattr(userns, "PATH", str(tmp_path))

    with pytest.raises(EngineError, match="mmdebstrap is missing") as raised:
        images.ensure_base(tmp_path, ids=ids)

    assert "apt-get install mmdebstrap" in raised.value.hint


def test_a_full_disk_is_named(small_disk: Path) -> None:
    """An image that doesn't fit is one clear error, and frees what it took."""
    with pytest.raises(EngineError, match="no space left on device") as raised:
        images.ensure_base(small_disk, ids=ids_of_this_user())

    assert "CM_CACHE" in raised.value.hint
    assert [] == layers_in(small_disk)


def test_a_killed_build_takes_its_children_with_it(tmp_path: Path) -> None:
    """Nothing runs on when the builder is killed, /tmp stays clean, and the next build removes the junk."""
    before = set(Path(tempfile.gettempdir()).glob("mmdebstrap.*"))
    ids = ids_of_this_user()
    builder = multiprocessing.get_context("spawn").Process(
        target=images.ensure_base, args=(tmp_path,), kwargs={"ids": ids}
    )
    builder.start()
    deadline = time.monotonic() + 30
    while not list((tmp_path / "images").glob(".*.unfinished/rootfs/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running = list(marked_processes(tmp_path / "images"))
    assert running
    os.kill(builder.pid or 0, signal.SIGKILL)
    builder.join()

    while any(Path(f"/proc/{pid}").exists() for pid in running) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [] == list(marked_processes(tmp_path / "images"))
    assert set() == set(Path(tempfile.gettempdir()).glob("mmdebstrap.*")) - before
    assert [] != layers_in(tmp_path)
    with pytest.raises(EngineError, match="tar"):
        (tmp_path / "junk").write_bytes(b"junk" * 5000)
        images.ensure_base(tmp_path, ids=ids, source=tmp_path / "junk")
    assert [] == layers_in(tmp_path)
