"""Files on their way to nodes: archives, and the script that makes one whole or not at all."""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Mapping
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError

_PUSH = """\
set -eu
if [ -d "$1" ]; then set -- "$1/$3" "$2" "$3" "$4"; fi
case $1 in */*) folder=${1%/*}/ ;; *) folder=./ ;; esac
mkdir -p -- "$folder"
new=$(mktemp "$folder.cm.XXXXXX")
trap 'rm -f -- "$new"' EXIT
cat >"$new"
[ "$(stat -c %s "$new")" -eq "$2" ] || { echo "the file was cut off on its way" >&2; exit 1; }
chmod -- "$4" "$new"
mv -fT -- "$new" "$1"
"""
_FETCH = """\
[ ! -e "$1" ] || [ -f "$1" ] || { echo "$1 is not a regular file" >&2; exit 1; }
exec cat -- "$1"
"""


def push_line(source: bytes | Path, remote: str, mode: int) -> str:
    """Return the shell line that makes a file of what stands on its input.

    Raises:
        UsageError: the local file can't be read.

    """
    return f"set -- {shlex.join([remote, *_size_and_name(source), f'{mode:04o}'])}\n{_PUSH}"


def fetch_line(remote: str) -> str:
    """Return the shell line that prints a regular file; a device or a pipe of a node would have no end."""
    return f"set -- {shlex.quote(remote)}\n{_FETCH}"


def tarball(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Return a tar archive for `unpack`: for each relative path its content and its permissions."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, (content, mode) in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _size_and_name(source: bytes | Path) -> tuple[str, str]:
    if isinstance(source, bytes):
        return str(len(source)), ""
    refuse_unreadable(source)
    return str(source.stat().st_size), source.name


def refuse_unreadable(file: Path) -> None:
    """Raise when a local file can't be read.

    Raises:
        UsageError: says why.

    """
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"can't read {file}: {error.strerror}") from error
