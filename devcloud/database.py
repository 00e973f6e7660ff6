"""MariaDB: started on a unix socket, its tables made once, and cached as they were when nobody had used them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path

from devcloud import processes
from devcloud.errors import DevcloudError
from devcloud.layout import DATABASES, Cloud
from devcloud.passwords import Passwords

NAME = "mariadb"
_SERVERS = ("/usr/sbin/mariadbd", "/usr/sbin/mysqld")
_PATIENCE = 60.0
_CACHED = ("mariadb", "keystone", "glance")
_ARCHIVE = "state.tar"


def server() -> str | None:
    """Return MariaDB's server on this machine, or None."""
    return next((path for path in _SERVERS if Path(path).exists()), None)


def start(cloud: Cloud) -> None:
    """Start MariaDB, unless it runs; its folder is there already.

    Raises:
        DevcloudError: it doesn't start.

    """
    if processes.process_id(cloud, NAME) is not None:
        return
    cloud.database_socket.unlink(missing_ok=True)
    user = [] if _is_ordinary() else ["--user=root"]
    words = [server() or "mariadbd", f"--defaults-file={cloud.etc / 'mariadb.conf'}", *user]
    pid = processes.start(cloud, NAME, words)
    deadline = time.monotonic() + _PATIENCE
    while not _answers(cloud):
        if not processes.is_ours(cloud, pid) or time.monotonic() > deadline:
            raise DevcloudError("MariaDB does not start", f"look into {cloud.log / 'mariadb.log'}")
        time.sleep(0.05)


def stop(cloud: Cloud) -> None:
    """End MariaDB and wait until its files are complete."""
    pid = processes.process_id(cloud, NAME)
    if pid is not None:
        processes.end([pid], grace=_PATIENCE)


def make(cloud: Cloud, passwords: Passwords) -> None:
    """Make an empty MariaDB with the services' databases in it, and leave it running."""
    data = cloud.state / "mariadb"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    words = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"]
    words += ["--auth-root-authentication-method=normal"]
    processes.run(cloud, "mariadb-install", words if _is_ordinary() else [*words, "--user=root"])
    start(cloud)
    statements = [f"CREATE DATABASE {name} CHARACTER SET utf8mb3;" for name in DATABASES]
    statements.append(f"ALTER USER root@localhost IDENTIFIED BY '{passwords.database}';")
    _client(cloud, "\n".join(statements))


def save(cloud: Cloud, key: str) -> None:
    """Keep the state of a cloud that nobody has used, for what `key` stands for; MariaDB is stopped."""
    forget(cloud)
    unfinished = cloud.cache / f".{_ARCHIVE}"
    with tarfile.open(unfinished, "w") as archive:
        for name in _CACHED:
            archive.add(cloud.state / name, arcname=name)
    unfinished.chmod(0o600)
    unfinished.rename(cloud.cache / _ARCHIVE)
    (cloud.cache / "key").write_text(key, encoding="utf-8")


def restore(cloud: Cloud, key: str) -> bool:
    """Bring back what `save` kept; return whether there was anything for this key."""
    try:
        known = (cloud.cache / "key").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    if known != key or not (cloud.cache / _ARCHIVE).exists():
        return False
    for name in _CACHED:
        shutil.rmtree(cloud.state / name, ignore_errors=True)
    with tarfile.open(cloud.cache / _ARCHIVE) as archive:
        # Later Pythons want a filter named; that of Debian 12 knows none.
        archive.extraction_filter = getattr(tarfile, "tar_filter", None)
        archive.extractall(cloud.state)  # noqa: S202 - `save` has made it
    return True


def forget(cloud: Cloud) -> None:
    """Remove what `save` kept."""
    for name in ("key", _ARCHIVE, f".{_ARCHIVE}"):
        (cloud.cache / name).unlink(missing_ok=True)


def _is_ordinary() -> bool:
    return os.geteuid() != 0


def _answers(cloud: Cloud) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(cloud.database_socket))
        return True
    return False


def _client(cloud: Cloud, statements: str) -> None:
    words = ["mariadb", "--no-defaults", f"--socket={cloud.database_socket}", "--user=root"]
    done = subprocess.run(
        words, input=statements, capture_output=True, text=True, env=cloud.environment(), cwd="/", check=False
    )
    if done.returncode:
        raise DevcloudError(f"MariaDB refuses: {done.stderr.strip()}")
