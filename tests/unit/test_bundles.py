"""Bundles: what comes out is what went in, and nothing else ever gets into a cache."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from cloudmesh_cluster.bundles import Bundle, use_bundle, write_bundle
from cloudmesh_cluster.errors import UsageError

SAID: list[str] = []


def made(folder: Path) -> tuple[Path, Bundle]:
    """Return a bundle of two files of a cache."""
    files = [folder / "a" / "payloads" / "x.tar", folder / "a" / "conda" / "bundled" / "k.lock"]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text(file.name)
    output = folder / "lab.bundle"
    return output, write_bundle(folder / "a", "lab", files, [], output, SAID.append)


def test_a_bundle_fills_an_empty_cache(tmp_path: Path) -> None:
    """Each file comes to its place with its content; a second time changes nothing."""
    output, bundle = made(tmp_path)
    for _ in range(2):
        assert use_bundle(output, tmp_path / "b", SAID.append) == bundle
    assert (tmp_path / "b" / "payloads" / "x.tar").read_text() == "x.tar"
    assert (tmp_path / "b" / "conda" / "bundled" / "k.lock").read_text() == "k.lock"
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["conda", "payloads"]


def test_a_damaged_bundle_changes_nothing(tmp_path: Path) -> None:
    """A wrong digest is named with its file, a cut off archive is refused; the cache stays empty."""
    output, _ = made(tmp_path)
    whole = output.read_bytes()
    output.write_bytes(whole.replace(b"x.tar" + bytes(507), b"y.tar" + bytes(507)))
    with pytest.raises(UsageError, match="payloads/x.tar: SHA-256 .* expected"):
        use_bundle(output, tmp_path / "b", SAID.append)
    output.write_bytes(whole[:1500])
    with pytest.raises(UsageError, match="is no bundle, or damaged"):
        use_bundle(output, tmp_path / "b", SAID.append)
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize("place", ["../evil", "/etc/evil", "state.db", "payloads/../../evil"])
def test_a_bundle_writes_nowhere_else(tmp_path: Path, place: str) -> None:
    """What lies outside of the cache's own folders is refused."""
    with tarfile.open(tmp_path / "bad.bundle", "w") as tar:
        member = tarfile.TarInfo(place)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(UsageError, match="is no bundle"):
        use_bundle(tmp_path / "bad.bundle", tmp_path / "b" / "cache", SAID.append)
    assert not list(tmp_path.rglob("*evil*"))
