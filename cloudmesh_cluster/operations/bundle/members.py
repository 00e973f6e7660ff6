"""What may be in a bundle: places in a cache, and in an image's layer only what nodes could have made themselves."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path, PurePosixPath

ABOUT = "bundle.json"
"""The member that names the profile, and the digest of every other member."""
LAYER = re.compile(r"images/((?:base|tuning|layer|debs)-[0-9a-f]{16})\.tar")
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.+=@~-]*"
_PLACES = (
    rf"payloads/{_PART}\.(?:tar|sha256)",
    rf"conda/bundled/{_PART}\.(?:json|lock)",
    rf"conda/environments/{_PART}\.(?:json|files|tgz)",
    rf"debs/{_PART}/{_PART}\.tar",
    LAYER.pattern,
)
_IDS = range(65536)
_XATTR = "SCHILY.xattr."
_ALLOWED_XATTRS = ("user.", "security.capability")


def check_place(name: str) -> None:
    """Raise a ValueError unless a member's name is a place in a cache that bundles fill."""
    if not any(re.fullmatch(place, name) for place in _PLACES):
        raise ValueError(f"it holds {name!r}, which is no place in a cache")


def check_layer(archive: Path) -> None:
    """Raise a ValueError unless all members of a layer's archive are what nodes could have made themselves.

    These are files, folders and links below `rootfs`, whose owners are ids of nodes; devices only where overlayfs
    marks a deleted file with one. No member is written through a link, or linked to what is not in the archive.
    """
    links: set[str] = set()
    files: set[str] = set()
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            if fault := _fault(member, files) or _through(member.name, links):
                raise ValueError(f"{archive.name}: {member.name!r} {fault}")
            if member.issym():
                links.add(member.name)
            else:
                files.add(member.name)


def _fault(member: tarfile.TarInfo, files: set[str]) -> str:
    """Return why a member can't be in a layer; empty when it can."""
    parts = PurePosixPath(member.name).parts
    if parts[:1] != ("rootfs",) or ".." in parts:
        return "is not below rootfs"
    whiteout = member.ischr() and (member.devmajor, member.devminor) == (0, 0)
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk() or whiteout):
        return "is no file, folder or link"
    if member.uid not in _IDS or member.gid not in _IDS:
        return f"belongs to {member.uid}:{member.gid}, no ids of nodes"
    if member.islnk() and member.linkname not in files:
        return f"is a link to {member.linkname!r}, which is not in the archive"
    names = [key.removeprefix(_XATTR) for key in member.pax_headers if key.startswith(_XATTR)]
    strange = [name for name in names if not name.startswith(_ALLOWED_XATTRS)]
    return f"has the attribute {strange[0]}" if strange else ""


def _through(name: str, links: set[str]) -> str:
    above = [str(path) for path in PurePosixPath(name).parents]
    return "would be written through a link" if links.intersection(above) else ""
