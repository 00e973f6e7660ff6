"""Ed25519 key pairs, and files that hold their private halves."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import write_atomically


@dataclass(frozen=True)
class KeyPair:
    """A key pair: `private` as OpenSSH writes it, `public` as one line of an authorized_keys file."""

    private: bytes = field(repr=False)
    public: str


def generate(comment: str) -> KeyPair:
    """Return a fresh Ed25519 key pair whose public line ends with `comment`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return KeyPair(private=private, public=public_of(private, comment))


def public_of(private: bytes, comment: str = "") -> str:
    """Return the public line of an unencrypted private key in OpenSSH's format.

    Raises:
        UsageError: it is no such key.

    """
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(private, password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"not an unencrypted OpenSSH private key: {error}") from error
    line = (
        key.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode("ascii")
    )
    return f"{line} {comment}".rstrip()


def login_comment(cluster: str) -> str:
    """Return the comment by which the login key of a cluster is known, on its nodes and in the cloud."""
    return f"cm-login {cluster}"


def bootstrap_comment(operation: str) -> str:
    """Return the comment by which the bootstrap key of an operation is known on the nodes."""
    return f"cm-bootstrap {operation}"


def blob(public: str) -> str:
    """Return the base64 part of a public key line without options."""
    words = public.split()
    if len(words) < 2:
        raise UsageError(f"not a public key: {public!r}")
    return words[1]


def fingerprint(public: str) -> str:
    """Return the fingerprint of a public key line as `ssh-keygen -l` shows it: `SHA256:...`."""
    digest = hashlib.sha256(base64.b64decode(blob(public))).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def write_private(path: Path, private: bytes) -> None:
    """Write a private key to a new file, readable by its owner only, and see it on the disk.

    Raises:
        UsageError: the file exists already; a key is never overwritten.

    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write_atomically(temporary, private)
    try:
        os.link(temporary, path)  # fails where a rename would overwrite
    except FileExistsError as error:
        raise UsageError(f"{path} exists already: a key is never overwritten") from error
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path) -> bytes:
    """Return a private key from a file that nobody but its owner can read, as OpenSSH demands.

    Raises:
        UsageError: the file is missing, not regular, someone else's, or readable by others.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"can't read the private key {path}: {error.strerror}") from error
    try:
        _refuse_unless_private(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _refuse_unless_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"the private key {path} is not a regular file")
    if status.st_uid != os.geteuid():
        raise UsageError(f"the private key {path} belongs to user {status.st_uid}, not to you")
    if status.st_mode & 0o077:
        mode = f"{status.st_mode & 0o777:04o}"
        raise UsageError(f"the private key {path} can be read by others (mode {mode})", hint=f"chmod 600 {path}")
