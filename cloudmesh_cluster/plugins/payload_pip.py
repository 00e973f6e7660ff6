"""Payloads from PyPI: what a lock file pins, made ready for the nodes' Python once, by the client."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
import tarfile
import zlib
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.plugins.model import Payload, Plugin
from cloudmesh_cluster.plugins.payload_sources import Progress, keep_members, run_fetcher, without_network

PACKAGES = "site-packages"
"""The folder of an archive that holds the packages, ready to be imported."""

_GLIBC = range(36, 11, -1)  # the minor versions of what Debian 12 runs, the newest first; 2.12 is the oldest
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010"}


def unpack_pip(plugin: Plugin, payload: Payload, content: Path, *, progress: Progress) -> None:
    """Let pip fetch what a plugin's lock file pins, and fill a folder with it.

    Wheels become importable packages in `site-packages`; the files of sources are placed by the plugin's rules.

    Raises:
        UsageError: there is no pip, it fails, or a digest is wrong.

    """
    setting = f"--set {plugin.name}.{payload.source}=PATH|URL"
    downloads = content.parent / "downloads"
    requirements = plugin.folder / payload.lock
    ways = ["--no-deps", "--disable-pip-version-check", "--no-input", *_platform(payload.python)]
    fetched = 0

    def count(line: str) -> str:
        nonlocal fetched
        fetched += line.startswith("Collecting ")
        return f"pip: {fetched} packages" if fetched else ""

    words = [*_pip(plugin, setting), "download", *ways, "--require-hashes", "--dest", str(downloads)]
    status, last = run_fetcher([*words, "--requirement", str(requirements)], count, progress, complains="ERROR:")
    if status != 0:
        digests = f"the digests are in {requirements}; " if "hash" in last.lower() else ""
        raise UsageError(f"pip can't fetch {plugin.name}: {last}", hint=digests + without_network(setting))
    _unpack(plugin, payload, downloads, content, [*_pip(plugin, setting), "install", *ways])


def _unpack(plugin: Plugin, payload: Payload, downloads: Path, content: Path, install: list[str]) -> None:
    files = sorted(downloads.iterdir())
    packages = content / PACKAGES
    # By name and version: of a wheel given as a file pip notes down where it lay.
    if wheels := ["==".join(file.name.split("-")[:2]) for file in files if file.suffix == ".whl"]:
        words = [*install, "--isolated", "--no-index", "--find-links", str(downloads), "--no-compile"]
        words += ["--target", str(packages), *wheels]
        status, last = run_fetcher(words, lambda line: "", lambda line: None, complains="ERROR:")
        if status != 0:
            raise UsageError(f"pip can't unpack {plugin.name}: {last}")
        # The commands name this machine's Python: nodes have their own.
        shutil.rmtree(packages / "bin", ignore_errors=True)
    try:
        for file in files:
            if file.suffix != ".whl":
                keep_members(file, content, payload)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UsageError(f"{plugin.name}: what pip fetched is damaged: {error}") from error
    _compile(packages, payload.python)


def _compile(packages: Path, python: str) -> None:
    """Compile once for all nodes, where this machine's Python is theirs; they would do it at each start."""
    if packages.is_dir() and python == f"{sys.version_info.major}.{sys.version_info.minor}":
        words = [sys.executable, "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash"]
        # Some packages carry files for other Pythons, which don't compile; what is missing costs only time.
        run_fetcher([*words, "-s", str(packages), str(packages)], lambda line: "", lambda line: None, complains="***")


def _pip(plugin: Plugin, setting: str) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if (pip := shutil.which("pip3") or shutil.which("pip")) is None:
        raise UsageError(
            f"{plugin.name} is fetched by pip, and there is no pip on this machine",
            hint=f"apt-get install python3-pip, or name an archive: {setting}",
        )
    return [pip]


def _platform(python: str) -> list[str]:
    """Return the options by which pip fetches for nodes with this machine's processor, not for this machine."""
    machine = platform.machine()
    platforms = [name for minor in _GLIBC for name in _names(minor, machine)]
    return [
        *("--python-version", python, "--implementation", "cp"),
        *(word for abi in (f"cp{python.replace('.', '')}", "abi3", "none") for word in ("--abi", abi)),
        *(word for name in [*platforms, "any"] for word in ("--platform", name)),
    ]


def _names(minor: int, machine: str) -> list[str]:
    old = _OLD_NAMES.get(minor)
    return [f"manylinux_2_{minor}_{machine}", *([f"{old}_{machine}"] if old else [])]
