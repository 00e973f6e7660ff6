"""Bundles: what comes out is what went in, and nothing else ever gets into a cache."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.operations.bundle.archive import Bundle, use_bundle, write_bundle
from tests.support.command_line import CommandLine

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


def forged(output: Path, members: Mapping[str, bytes], files: Mapping[str, str] | None = None) -> Path:
    """Write a bundle of any members, which says of itself what is true, or `files`."""
    digests = {place: hashlib.sha256(content).hexdigest() for place, content in members.items()}
    about = {"profile": "lab", "made_at": "now", "files": {**digests, **(files or {})}}
    with tarfile.open(output, "w") as tar:
        for place, content in {**members, "bundle.json": json.dumps(about).encode()}.items():
            member = tarfile.TarInfo(place)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return output


PLACES = ["../evil", "/etc/evil", "state.db", "payloads/../../evil", "", "payloads", "conda/packages/evil/x",
          "images/evil.tar", "images/evil/rootfs/x", "payloads/.evil.tar", "images/base-0123456789abcdef"]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_bundle_writes_nowhere_else(tmp_path: Path, place: str) -> None:
    """What has no place in a cache is refused with words, and nothing is written."""
    bundle = forged(tmp_path / "bad.bundle", {place: b"evil"})
    with pytest.raises(UsageError, match="is no bundle, or damaged: it holds"):
        use_bundle(bundle, tmp_path / "b" / "cache", SAID.append)
    assert not list(tmp_path.rglob("*evil*"))
    assert list((tmp_path / "b" / "cache").iterdir()) == []


@pytest.mark.parametrize("place", ["../payloads/mine.tar", "/{}/payloads/mine.tar", "../../payloads/mine.tar"])
def test_what_a_bundle_says_of_itself_moves_nothing(tmp_path: Path, place: str) -> None:
    """A list that names a file which is not in the bundle is refused; that file stays where it is."""
    mine = tmp_path / "cache" / "payloads" / "mine.tar"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    named = {place.format(tmp_path / "cache"): hashlib.sha256(b"mine").hexdigest()}
    bundle = forged(tmp_path / "bad.bundle", {"payloads/x.tar": b"x"}, named)
    with pytest.raises(UsageError, match="SHA-256 missing, expected"):
        use_bundle(bundle, tmp_path / "cache", SAID.append)
    assert mine.read_bytes() == b"mine"
    assert [path.name for path in mine.parent.iterdir()] == ["mine.tar"]


def test_a_payload_that_is_there_stays(tmp_path: Path) -> None:
    """A bundle replaces a damaged payload, and no whole one."""
    payloads = tmp_path / "cache" / "payloads"
    payloads.mkdir(parents=True)
    for name, content, digest in (("whole", b"mine", b"mine"), ("damaged", b"half", b"whole")):
        (payloads / f"{name}.tar").write_bytes(content)
        (payloads / f"{name}.sha256").write_text(hashlib.sha256(digest).hexdigest())
    theirs = hashlib.sha256(b"theirs").hexdigest().encode()
    members = {f"payloads/{name}.{suffix}": content for name in ("whole", "damaged")
               for suffix, content in (("tar", b"theirs"), ("sha256", theirs))}  # fmt: skip
    use_bundle(forged(tmp_path / "x.bundle", members), tmp_path / "cache", SAID.append)

    assert (payloads / "whole.tar").read_bytes() == b"mine"
    assert (payloads / "damaged.tar").read_bytes() == b"theirs"


def test_its_own_digest_is_said_and_compared(tmp_path: Path, cm: CommandLine) -> None:
    """`use` prints what `sha256sum` prints, and refuses a bundle that is not the one that `--sha256` means."""
    output, _ = made(tmp_path)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    there = CommandLine(cm.home, tmp_path / "there")
    wrong = there("bundle", "use", str(output), "--sha256", "0" * 64, expect=2)

    assert f"has the SHA-256 {digest}, expected 000" in wrong.stderr
    assert list((tmp_path / "there").iterdir()) == []
    assert f"lab.bundle: SHA-256 {digest}" in there("bundle", "use", str(output), "--sha256", digest).stderr


def member(name: str, **fields: object) -> tarfile.TarInfo:
    """Return a member of a layer."""
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


ATTACKS: dict[str, Callable[[], list[tarfile.TarInfo]]] = {
    "belongs to 2000000:0": lambda: [member("rootfs/sh", mode=0o4755, uid=2_000_000)],
    "belongs to 0:1879048192": lambda: [member("rootfs/sh", mode=0o2755, gid=1_879_048_192)],
    "is no file, folder or link": lambda: [member("rootfs/sda", type=tarfile.BLKTYPE, devmajor=8, mode=0o666)],
    "is no file": lambda: [member("rootfs/mem", type=tarfile.CHRTYPE, devmajor=1, devminor=1)],
    "is no file,": lambda: [member("rootfs/pipe", type=tarfile.FIFOTYPE)],
    "has the attribute security.ima": lambda: [member("rootfs/x", pax_headers={"SCHILY.xattr.security.ima": "x"})],
    "has the attribute trusted.overlay": lambda: [
        member("rootfs/x", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/"})
    ],
    "is not below rootfs": lambda: [member("../rootfs/x")],
    "not below rootfs": lambda: [member("work/x")],
    "below rootfs": lambda: [member("rootfs/../../x")],
    "would be written through a link": lambda: [
        member("rootfs/etc", type=tarfile.SYMTYPE, linkname="/etc"), member("rootfs/etc/shadow")
    ],
    "is a link to '/etc/shadow'": lambda: [member("rootfs/x", type=tarfile.LNKTYPE, linkname="/etc/shadow")],
}  # fmt: skip


@pytest.mark.parametrize("fault", ATTACKS)
def test_an_image_holds_only_what_nodes_could_make(tmp_path: Path, fault: str) -> None:
    """Foreign owners, devices, pipes, privileged attributes and ways out of a layer are refused before unpacking."""
    with tarfile.open(tmp_path / "layer.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for each in (member("rootfs", type=tarfile.DIRTYPE), *ATTACKS[fault]()):
            tar.addfile(each)
    name = "images/base-0123456789abcdef.tar"
    bundle = forged(tmp_path / "bad.bundle", {name: (tmp_path / "layer.tar").read_bytes()})
    with pytest.raises(UsageError, match=fault):
        use_bundle(bundle, tmp_path / "cache", SAID.append)
    assert list((tmp_path / "cache").iterdir()) == []
