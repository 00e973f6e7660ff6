"""A conda channel of our own: a real Python, repackaged, with small packages around it, served with an access log."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
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
POST_LINK = {
    "r-tiny": 'tiny >"$PREFIX/lib/R/index"; echo "$PKG_NAME $PKG_VERSION is indexed" >>"$PREFIX/.messages.txt"\n',
    "r-broken": "echo no compiler here; exit 3\n",
}


def require_tools() -> None:
    """End the running test where the packages that make channels and environments are not installed."""
    missing = [name for name in ("rattler", "rattler_build", "conda_pack") if find_spec(name) is None]
    if missing:
        refuse(f"no {', '.join(missing)} here: pip install '.[test]'")


def make_channel(folder: Path, *, greet_versions: Sequence[str] = ("0.1", "0.2")) -> Path:
    """Make a channel with a real `python` and small packages, and return its folder.

    `greet` is noarch with a command, `tiny` a script, `r-tiny` a library of R with a post-link script; the one of
    `r-broken` fails.
    """
    from rattler.index import index_fs

    for subdir in ("linux-64", "noarch"):
        (folder / subdir).mkdir(parents=True)
    _pack_python(folder)
    for version in greet_versions:
        _pack_greet(folder, version)
    pack_files(folder, "tiny", {"bin/tiny": "#!/bin/sh\necho tiny\n"})
    for name, script in POST_LINK.items():
        library = {f"lib/R/library/{name}/DESCRIPTION": f"Package: {name}\n", f"bin/.{name}-post-link.sh": script}
        pack_files(folder, name, library, depends=["tiny"])
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


def pack_files(channel: Path, name: str, files: Mapping[str, str], *, depends: Sequence[str] = ()) -> None:
    """Make a package of some texts; those in bin/ can be run."""
    stage = channel / "stage"
    for place, text in files.items():
        (stage / place).parent.mkdir(parents=True, exist_ok=True)
        (stage / place).write_text(text)
        (stage / place).chmod(0o755 if place.startswith("bin/") else 0o644)
    _assemble(channel, stage, name, "1.0", "noarch", build="0", depends=[*depends], noarch="generic")


def _assemble(
    channel: Path, stage: Path, name: str, version: str, subdir: str, *, build: str, depends: list[str],
    noarch: Literal["python", "generic"] | None = None,
) -> None:  # fmt: skip
    from rattler_build import ArchiveType, FileEntry, assemble_package

    # The assembler leaves out hidden files, which link scripts are, where it looks for files itself.
    hidden = [FileEntry.from_paths(path, path.relative_to(stage)) for path in stage.glob("bin/.*")]
    assemble_package(
        name=name, version=version, target_platform=subdir, build_string=build, output_dir=channel / subdir,
        files_dir=stage, depends=depends, compression_level=1, archive_type=ArchiveType.Conda, license="PSF-2.0",
        noarch=noarch, files=hidden,
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


def address_for_nodes() -> str:
    """Return the address of this machine at which local nodes reach it: that of its way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("192.0.2.1", 9))
        return str(out.getsockname()[0])


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
def serving(channel: Path, *, certificate: Path | None = None, address: str = "127.0.0.1") -> Iterator[Served]:
    """Serve a channel at an address of this machine, and count who asks for what.

    Args:
        channel: its folder.
        certificate: the file of key and certificate with which it is served by https; None for http.
        address: of this machine, at which it is served.

    """

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as the library calls it)
            served.asked_paths.append(self.path)
            if self.command == "GET" and str(args[1]) == "200":
                served.asked.append(self.path)

        def translate_path(self, path: str) -> str:
            # Channels for some eyes only are below /t/TOKEN.
            return super().translate_path(re.sub(r"^/t/[^/]+", "", path))

    server = ThreadingHTTPServer((address, 0), partial(Handler, directory=str(channel)))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    served = Served(f"http{'s' if certificate else ''}://{address}:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
