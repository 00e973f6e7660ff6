"""Files that a user names: whole where they are files, written through where they are links, devices or pipes."""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudmesh_cluster.cli.commands.cluster_look import _write_junit
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import write_named
from cloudmesh_cluster.operations.bundle.archive import write_bundle
from cloudmesh_cluster.views.pages import write_page
from tests.support.command_line import CommandLine

Write = Callable[[Path], None]


def named(path: Path) -> None:
    """Write as every command does."""
    write_named(path, b"new")


def junit(path: Path) -> None:
    """Write what `--junit` writes."""
    _write_junit(str(path), "t", [])


def page(path: Path) -> None:
    """Write what `report --html` writes."""
    write_page(path, "<html>")


def bundle(path: Path) -> None:
    """Write what `bundle create -o` writes."""
    write_bundle(path.parent, "p", [], [], path, lambda _: None)


WRITERS = pytest.mark.parametrize("write", [named, junit, page, bundle])


@WRITERS
def test_a_link_stays_a_link(write: Write, tmp_path: Path) -> None:
    """What a link leads to is written, be it there before or not; the link stays."""
    for target in (tmp_path / "there", tmp_path / "new"):
        link = tmp_path / f"link-to-{target.name}"
        link.symlink_to(target)
        if target.name == "there":
            target.write_bytes(b"old")
        write(link)
        assert link.is_symlink()
        assert target.read_bytes() not in (b"", b"old")


@WRITERS
def test_a_pipe_and_a_device_are_written(write: Write, tmp_path: Path) -> None:
    """Who reads a named pipe gets it all; a device stays what it is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join()
    null = tmp_path / "null"
    null.symlink_to("/dev/null")
    write(null)

    assert pipe.is_fifo()
    assert read[0]
    assert null.is_symlink()
    assert Path("/dev/null").is_char_device()


@WRITERS
def test_a_file_is_new_or_whole(write: Write, tmp_path: Path) -> None:
    """A file that is there is replaced at once, so whoever has opened it reads the old one to its end."""
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with file.open("rb") as opened:
        write(file)
        assert opened.read() == b"old"
    assert file.read_bytes() != b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    """A folder, or a file in a folder that is not there, is exit 2 with its path."""
    for path in (tmp_path, tmp_path / "no" / "file"):
        for write in (junit, page, bundle):
            with pytest.raises(UsageError, match=str(path)):
                write(path)


def test_the_archive_of_doctor_goes_through_a_pipe(cm: CommandLine, tmp_path: Path) -> None:
    """`cm doctor -o PIPE` writes the whole archive to who reads; a link to a file that is there is refused."""
    pipe, kept = tmp_path / "pipe", tmp_path / "archive"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: kept.write_bytes(pipe.read_bytes()))
    reader.start()
    cm("doctor", "-o", str(pipe))
    reader.join()
    with tarfile.open(kept) as tar:
        assert "info.json" in tar.getnames()

    link = tmp_path / "link"
    link.symlink_to(kept)
    before = kept.read_bytes()
    cm("doctor", "-o", str(link), expect=2)
    assert kept.read_bytes() == before
