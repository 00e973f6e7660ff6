"""What a devcloud needs on this machine: MariaDB of Debian, OpenStack of PyPI in a virtual environment of its own."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from devcloud import database
from devcloud.errors import DevcloudError
from devcloud.layout import ENGINE, Cloud

_CONSTRAINTS = Path(__file__).with_name("constraints.txt")
_SERVICES = ("keystone", "openstack-heat", "nova", "neutron", "cinder", "glance", "openstack-placement")
_LIBRARIES = ("PyMySQL", "PyYAML", "waitress")
_CLIENTS = tuple(f"python-{name}client" for name in ("heat", "nova", "neutron", "glance", "cinder"))
_PACKAGES = (*_SERVICES, *_LIBRARIES, *_CLIENTS)


def missing_programs(driver: str) -> list[str]:
    """Return the Debian packages that are missing on this machine."""
    found = {"mariadb-client-core": shutil.which("mariadb"), "mariadb-server-core": database.server()}
    if driver == ENGINE:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        needed = {"ip": "iproute2", "nft": "nftables", "slirp4netns": "slirp4netns", "mmdebstrap": "mmdebstrap"}
        found |= {package: shutil.which(program, path=path) for program, package in needed.items()}
    return sorted(package for package, program in found.items() if program is None)


def ensure(cloud: Cloud, say: Callable[[str], None]) -> None:
    """Install what is missing in the virtual environment.

    Raises:
        DevcloudError: Debian packages are missing, or pip failed.

    """
    if missing := missing_programs(cloud.driver):
        raise DevcloudError(
            f"Debian packages are missing: {' '.join(missing)}",
            f"./bootstrap.sh devcloud, or as root: apt-get install {' '.join(missing)}",
        )
    cloud.root.mkdir(parents=True, exist_ok=True)
    with (cloud.root / "install.lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = cloud.venv / "devcloud.stamp"
        if stamp.exists() and stamp.read_text(encoding="utf-8") == version():
            return
        say(f"installing OpenStack into {cloud.venv} (a minute or two, once)")
        _make(cloud)
        stamp.write_text(version(), encoding="utf-8")


def version() -> str:
    """Return what the installed programs depend on: their pins, and the Python that runs them."""
    pins = hashlib.sha256(_CONSTRAINTS.read_bytes() + repr(_PACKAGES).encode()).hexdigest()[:16]
    return f"{pins} {sys.version_info.major}.{sys.version_info.minor}"


def _make(cloud: Cloud) -> None:
    shutil.rmtree(cloud.venv, ignore_errors=True)
    log = cloud.root / "install.log"
    # Services import, and so compile, a part of what is there: pip would take longer for all of it than they do.
    options = ("--quiet", "--disable-pip-version-check", "--no-compile")
    pip: list[str | Path] = [cloud.python, "-m", "pip", "install", *options]
    with log.open("w", encoding="utf-8") as output:
        environment: list[str | Path] = [sys.executable, "-m", "venv", cloud.venv]
        for words in (environment, [*pip, "--constraint", _CONSTRAINTS, *_PACKAGES]):
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
            if done.returncode:
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-6:]
                raise DevcloudError("OpenStack can't be installed:\n" + "\n".join(lines), f"look into {log}")


def remove(cloud: Cloud) -> None:
    """Remove the virtual environment, and the folder when nothing else is in it."""
    shutil.rmtree(cloud.venv, ignore_errors=True)
    for name in ("install.log", "install.lock"):
        (cloud.root / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        cloud.root.rmdir()
