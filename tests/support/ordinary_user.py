"""An ordinary user of this machine, for tests that run as root: no sudo, subordinate ids, a home of its own."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.command_line import ROOT, CommandLine

SUBORDINATE_IDS = 65536
NOT_FOR_USERS = ("mypy*", "ruff*", "ansible*", "openstack*", "pip", "pytest*", "__pycache__", "__editable__*")


@contextmanager
def ordinary_user() -> Iterator[CommandLine]:
    """Make a user and yield `cm` as that user runs it; afterwards the user and the files are gone.

    Must run as root.
    """
    name = f"cmtest{os.getpid()}"
    program = Path(tempfile.mkdtemp(prefix="cm-program-", dir="/tmp"))
    program.chmod(0o755)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", name], check=True)
    try:
        give_subordinate_ids(name)
        folder = Path(pwd.getpwnam(name).pw_dir)
        yield CommandLine(
            home=folder / ".cloudmesh",
            cache=folder / ".cache" / "cloudmesh",
            python=str(Path(sys.executable).resolve()),
            user=name,
            environ={"PYTHONPATH": os.pathsep.join(map(str, readable_program(name, program))), "USER": name},
        )
    finally:
        shutil.rmtree(program)
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


def give_subordinate_ids(user: str) -> None:
    """Give the user a range of subordinate ids that is nobody else's, where useradd has not done it."""
    # Another test process may be making a user, too.
    with Path("/etc/.cm-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _give(user)


def _give(user: str) -> None:
    rows = [line.split(":") for file in ("/etc/subuid", "/etc/subgid") for line in read_lines(file)]
    if sum(row[0] == user for row in rows) == 2:
        return
    first = max([1_000_000, *(int(start) + int(count) for _, start, count in rows)])
    ids = f"{first}-{first + SUBORDINATE_IDS - 1}"
    subprocess.run(["usermod", "--add-subuids", ids, "--add-subgids", ids, user], check=True)


def read_lines(file: str) -> list[str]:
    """Return the lines of a file that need not exist."""
    path = Path(file)
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def readable_program(user: str, folder: Path) -> list[Path]:
    """Return where the user can import this project and its dependencies from; copies them if the tree is private."""
    site = Path(sysconfig.get_path("purelib"))
    if all(can_read(user, path) for path in (ROOT / "cloudmesh_cluster" / "__init__.py", site / "rich")):
        return [ROOT, site]
    for name in ("cloudmesh_cluster", "scripts", "heat_templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(site, folder / "site", ignore=shutil.ignore_patterns(*NOT_FOR_USERS), symlinks=True)
    return [folder, folder / "site"]


def can_read(user: str, path: Path) -> bool:
    """Return whether the user can read a file or folder."""
    asked = subprocess.run(["test", "-r", str(path)], user=user, group=user, extra_groups=[], check=False)
    return asked.returncode == 0
