"""The jobs that fill a layer, as root of a user namespace in which LAYER is its folder, and no other layer is in sight.

What an image brings is somebody else's: its programs run, and its paths are followed, after `change_root` only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from cloudmesh_cluster.providers.local.engine import rootfs, syscalls
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.userns import ANCHOR, MOUNT_POINT

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "cloud-init",
    "curl",
    "iproute2",
    "iputils-ping",
    "less",
    "netbase",
    "netcat-openbsd",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
)
LAYER = f"{ANCHOR}/layer"
"""The folder of the layer that is being made."""

_ROOTFS = f"{LAYER}/rootfs"
_NAMESPACES = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
_NEEDED = ("/usr/sbin/sshd", "/usr/bin/cloud-init", "/usr/bin/python3", "/usr/bin/env")
_LAYER_OPTIONS = ("--numeric-owner", "--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability")
_COMPRESSIONS = ((b"\x1f\x8b", "--gzip"), (b"\xfd7zXZ", "--xz"), (b"\x28\xb5\x2f\xfd", "--zstd"), (b"BZh", "--bzip2"))


def bootstrap(*, mirror: str | None) -> None:
    """Build a Debian root file system with mmdebstrap."""
    words = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    words += ["--skip=chroot/mount/sys", "--dpkgopt=force-unsafe-io", '--aptopt=APT::Install-Recommends "false"']
    words += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    # A killed mmdebstrap leaves its temporary folders behind; in the unfinished layer they go with it.
    temporary = {**os.environ, "TMPDIR": f"{LAYER}/work"}
    subprocess.run([*words, SUITE, _ROOTFS, *([mirror] if mirror else [])], check=True, env=temporary)
    _enter()
    _forget_identity()


def unpack() -> None:
    """Unpack the tarball on standard input.

    Raises:
        EngineError: it can't become a node.

    """
    words = ["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--exclude=./dev/*", "--exclude=dev/*"]
    # tar can't look ahead in standard input to find the compression out by itself.
    magic = os.pread(0, 6, 0)
    words += [option for start, option in _COMPRESSIONS if magic.startswith(start)]
    subprocess.run([*words, "--file=-", f"--directory={_ROOTFS}"], check=True)
    _enter()
    for program in _NEEDED:
        if not os.path.lexists(program):
            raise EngineError(f"it has no {program[1:]}")
    _forget_identity()


def pack_layer() -> None:
    """Pack the layer into the file that is open, for writing too, as standard input; its ids are those of the nodes."""
    subprocess.run(["tar", "--create", *_LAYER_OPTIONS, "--file=-", "-C", LAYER, "rootfs"], check=True, stdout=0)


def unpack_layer() -> None:
    """Unpack what `pack_layer` made; here nothing can get an id, a device or a right that nodes don't have."""
    words = ["tar", "--extract", "--preserve-permissions", *_LAYER_OPTIONS, "--file=-", "-C", LAYER]
    subprocess.run(words, check=True)


def _enter() -> None:
    """Make the layer this process's root, which nothing leads out of."""
    syscalls.unshare(_NAMESPACES)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount(_ROOTFS, MOUNT_POINT, flags=syscalls.MS_BIND)
    rootfs.change_root(MOUNT_POINT, {})


def _forget_identity() -> None:
    for key in Path("/etc/ssh").glob("ssh_host_*"):
        key.unlink()
    rootfs.replace_file("/etc/machine-id", "")


def write_files() -> None:
    """Write the files on standard input: a JSON object of mode and content by path."""
    for path, (mode, content) in json.load(os.fdopen(0, "rb")).items():
        file = Path(_ROOTFS, path.lstrip("/"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        file.chmod(mode)


def install_packages(*, below: list[str], packages: list[str], proxies: list[str]) -> None:
    """Install Debian packages above other layers, over the network of this machine.

    Args:
        below: the names under which these layers are shown, topmost first.
        packages: what to install.
        proxies: options of apt-get.

    """
    apt = _apt_above(below, proxies)
    # The image leaves manual pages out, and packages that link theirs (a JRE) fail where the folder is missing.
    Path("/usr/share/man/man1").mkdir(parents=True, exist_ok=True)
    subprocess.run([*apt, "-o", "APT::Update::Error-Mode=any", "update"], check=True)
    subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True)
    subprocess.run(["apt-get", "clean"], check=True)
    for entry in Path("/var/lib/apt/lists").iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def download_packages(*, below: list[str], packages: list[str], release: str, proxies: list[str]) -> None:
    """Fetch Debian packages of a release, with all that they need on an empty machine, into the folder `debs`."""
    apt = _apt_above(below, proxies)
    work = Path("/debs.work")
    for folder in ("lists/partial", "archives/partial"):
        (work / folder).mkdir(parents=True)
    sources = Path("/etc/apt/sources.list").read_text(encoding="utf-8")
    (work / "sources").write_text(sources.replace(SUITE, release), encoding="utf-8")
    (work / "status").touch()
    places = {"Dir::Etc::SourceList": "sources", "Dir::State::Lists": "lists", "Dir::State::Status": "status",
              "Dir::Cache::Archives": "archives"}  # fmt: skip
    apt += [word for option, place in places.items() for word in ("-o", f"{option}={work / place}")]
    apt += ["-o", "Dir::Etc::SourceParts=/dev/null", "-o", "APT::Immediate-Configure=false"]
    subprocess.run([*apt, "-o", "APT::Update::Error-Mode=any", "update"], check=True)
    subprocess.run([*apt, "install", "--download-only", "--no-install-recommends", *packages], check=True)
    debs = Path("/debs")
    debs.mkdir()
    for file in (work / "archives").glob("*.deb"):
        file.rename(debs / file.name)
    (debs / "Packages").write_text("".join(map(_entry, sorted(debs.glob("*.deb")))), encoding="utf-8")
    shutil.rmtree(work)


def _entry(file: Path) -> str:
    """Return what a repository's index says of a package."""
    control = subprocess.run(["dpkg-deb", "--field", file], check=True, capture_output=True, text=True).stdout
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{control.rstrip()}\nFilename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n\n"


def _apt_above(below: list[str], proxies: list[str]) -> list[str]:
    """Make other layers, with this one above, this process's root, and return the words that call apt there."""
    syscalls.unshare(_NAMESPACES)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    lower = [f"{ANCHOR}/{name}" for name in below]
    rootfs.mount_layers(MOUNT_POINT, lower=lower, upper=_ROOTFS, work=f"{LAYER}/work")
    with open("/etc/resolv.conf", encoding="utf-8") as file:
        resolver = rootfs.file_with(file.read())
    rootfs.change_root(MOUNT_POINT, {"/proc": rootfs.proc(), "/dev": rootfs.dev(), "/etc/resolv.conf": resolver})
    os.environ |= {"DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
    subprocess.run(["update-ca-certificates"], check=True)
    apt = ["apt-get", "--quiet", "--yes", *(word for option in proxies for word in ("-o", option))]
    return [*apt, "-o", "Acquire::Languages=none"]
