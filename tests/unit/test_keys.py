"""Key pairs and the files of their private halves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.nodes import keys


def test_openssh_reads_our_keys(tmp_path: Path) -> None:
    """ssh-keygen derives the same public line and the same fingerprint from a generated key."""
    pair = keys.generate("cm-bootstrap 20261120-1")
    file = tmp_path / "id_ed25519"
    keys.write_private(file, pair.private)

    derived = subprocess.run(["ssh-keygen", "-y", "-f", file], capture_output=True, text=True, check=True).stdout
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=pair.public, capture_output=True, text=True, check=True
    ).stdout

    assert derived.split()[:2] == pair.public.split()[:2]
    assert listed.split()[1] == keys.fingerprint(pair.public)
    assert pair.public.endswith(" cm-bootstrap 20261120-1")


def test_public_half_from_private() -> None:
    """The public line can be had again from the private half."""
    pair = keys.generate("me")

    assert keys.public_of(pair.private, "me") == pair.public
    with pytest.raises(UsageError, match="not an unencrypted OpenSSH private key"):
        keys.public_of(b"nonsense")


def test_each_key_is_fresh_and_hidden() -> None:
    """Two keys differ, and the private half is not shown."""
    one, other = keys.generate("a"), keys.generate("a")

    assert one.private != other.private
    assert "PRIVATE" not in repr(one)


def test_private_file_is_private(tmp_path: Path) -> None:
    """A key file has mode 0600 under any umask, is read back as written, and is never overwritten."""
    file = tmp_path / "key"
    old = os.umask(0)
    try:
        keys.write_private(file, b"one")
    finally:
        os.umask(old)

    assert file.stat().st_mode & 0o777 == 0o600
    assert keys.read_private(file) == b"one"
    with pytest.raises(UsageError, match="never overwritten"):
        keys.write_private(file, b"two")
    assert file.read_bytes() == b"one"


def test_write_does_not_follow_links(tmp_path: Path) -> None:
    """A link that lies in the way is an error, and its target stays untouched."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError):
        keys.write_private(tmp_path / "link", b"key")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_open_key_file_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that others can read is refused, with the command that cures it."""
    file = tmp_path / "key"
    keys.write_private(file, b"key")
    file.chmod(mode)

    with pytest.raises(UsageError, match="can be read by others") as caught:
        keys.read_private(file)
    assert caught.value.hint == f"chmod 600 {file}"


def test_what_is_no_key_file_is_refused(tmp_path: Path) -> None:
    """A folder, a link and a missing file are refused by name."""
    (tmp_path / "link").symlink_to("/dev/null")

    for name in ("", "link", "missing"):
        with pytest.raises(UsageError, match=str(tmp_path / name)):
            keys.read_private(tmp_path / name)
