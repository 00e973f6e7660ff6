"""A conda channel of our own: a real Python, repackaged, with small packages around it, served with an access log."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tests.conftest import refuse

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LEFT_OUT = (
    "__pycache__", "*.pyc", "test", "tests", "idlelib", "turtledemo", "site-packages", "dist-packages", "*.a",
    "config-*", "ensurepip", "lib2to3", "tkinter", "pydoc_data", "EXTERNALLY-MANAGED", "sitecustomize.py",
)  # fmt: skip
# The distribution's Python looks in dist-packages; conda puts packages into site-packages.
SITE = f"""\
import os, site, sys
site.addsitedir(os.path.join(sys.prefix, "lib", "python{VERSION}", "site-packages"))
"""
GREET = 'def main():\n    import sys\n    print("greet {version} from", sys.prefix)\n'


def require_tools() -> None:
    """End the running test where the packages that make channels and environments are not installed."""
    missing = [name for name in ("rattler", "rattler_build", "conda_pack") if find_spec(name) is None]
    if missing:
        refuse(f"no {', '.join(missing)} here: pip install '.[test]'")


def make_channel(folder: Path, *, greet_versions: Sequence[str] = ("0.1", "0.2")) -> Path:
    """Make a channel with `python`, `greet` (noarch, with a command) and `tiny` (a script), and return its folder."""
    from rattler.index import index_fs

    for subdir in ("linux-64", "noarch"):
        (folder / subdir).mkdir(parents=True)
    _pack_python(folder)
    for version in greet_versions:
        _pack_greet(folder, version)
    _pack_tiny(folder)
    asyncio.run(index_fs(folder))
    return folder


def _pack_python(channel: Path) -> None:
    base, stage = Path(sys.base_prefix), channel / "stage"
    library = stage / "lib" / f"python{VERSION}"
    shutil.copytree(base / "lib" / f"python{VERSION}", library, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (library / "site-packages").mkdir()
    (library / "sitecustomize.py").write_text(SITE)
    for shared in (base / "lib").glob("libpython*"):
        shutil.copy2(shared, stage / "lib" / shared.name, follow_symlinks=False)
    (stage / "bin").mkdir()
    shutil.copy2(base / "bin" / f"python{VERSION}", stage / "bin" / f"python{VERSION}")
    for name in ("python", "python3"):
        (stage / "bin" / name).symlink_to(f"python{VERSION}")
    needs = ["__glibc >=2.28"]
    _assemble(channel, stage, "python", sys.version.split()[0], "linux-64", build="0_cpython", depends=needs)


def _pack_greet(channel: Path, version: str) -> None:
    stage = channel / "stage"
    package = stage / "site-packages" / "greet"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(GREET.format(version=version))
    metadata = stage / "site-packages" / f"greet-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: greet\nVersion: {version}\n")
    _assemble(channel, stage, "greet", version, "noarch", build="py_0", depends=["python >=3.8"], noarch="python")
    _add_command(channel / "noarch" / f"greet-{version}-py_0.conda", "greet = greet:main")


def _pack_tiny(channel: Path) -> None:
    stage = channel / "stage"
    (stage / "bin").mkdir(parents=True)
    script = stage / "bin" / "tiny"
    script.write_text("#!/bin/sh\necho tiny\n")
    script.chmod(0o755)
    _assemble(channel, stage, "tiny", "1.0", "noarch", build="0", depends=[], noarch="generic")


def _assemble(
    channel: Path, stage: Path, name: str, version: str, subdir: str, *, build: str, depends: list[str],
    noarch: Literal["python", "generic"] | None = None,
) -> None:  # fmt: skip
    from rattler_build import ArchiveType, assemble_package

    assemble_package(
        name=name, version=version, target_platform=subdir, build_string=build, output_dir=channel / subdir,
        files_dir=stage, depends=depends, compression_level=1, archive_type=ArchiveType.Conda, license="PSF-2.0",
        noarch=noarch,
    )  # fmt: skip
    shutil.rmtree(stage)


def _add_command(package: Path, command: str) -> None:
    """Add an entry point to a package, which the assembler can't: `command` is NAME = MODULE:FUNCTION."""
    from conda_package_handling import api

    unpacked = package.parent / "unpacked"
    api.extract(str(package), str(unpacked))
    link = unpacked / "info" / "link.json"
    about = {"noarch": {"type": "python", "entry_points": [command]}, "package_metadata_version": 1}
    link.write_text(json.dumps(about))
    package.unlink()
    api.create(str(unpacked), None, package.name, str(package.parent))
    shutil.rmtree(unpacked)


@dataclass
class Served:
    """A channel behind an HTTP server: its address, and what was asked of it, in order."""

    address: str
    asked: list[str] = field(default_factory=list)
    asked_paths: list[str] = field(default_factory=list)

    def packages(self) -> list[str]:
        """Return the packages that were downloaded, in order."""
        return [path.rpartition("/")[2] for path in self.asked if path.endswith((".conda", ".tar.bz2"))]


@contextmanager
def serving(channel: Path) -> Iterator[Served]:
    """Serve a channel at an address of this machine, and count who asks for what."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as the library calls it)
            served.asked_paths.append(self.path)
            if self.command == "GET" and str(args[1]) == "200":
                served.asked.append(self.path)

        def translate_path(self, path: str) -> str:
            # Channels for some eyes only are below /t/TOKEN.
            return super().translate_path(re.sub(r"^/t/[^/]+", "", path))

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(channel)))
    served = Served(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
