"""What nodes do with their volumes, tried on disks of this machine that are files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudmesh_cluster.core.resources import resource
from tests.conftest import refuse

VOLUME = "c0ffee00-1234-4321-abcd-0123456789ab"
MOUNT = f"bash {resource('scripts', 'boot', 'mount-volumes')} $1 {VOLUME}"
# Mounts, and the table of them, that nobody else on this machine sees.
ALONE = 'mount -t overlay cm -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/work" /etc\n'
# A table with one Linux partition, as the first sector of a disk has it.
PARTITIONS = (
    "disk=$(readlink -f $0/by-id/*); put() { dd of=$disk bs=1 conv=notrunc status=none seek=$1; }\n"
    r"printf '\0\0\0\0\203\0\0\0\1\0\0\0\0\100\0\0' | put 446; printf '\125\252' | put 510"
)


@dataclass(frozen=True)
class Disk:
    """A disk that is a file, its serial number cut off as virtio does it, and a folder to mount it at."""

    device: str
    folder: Path

    def node(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script as a node would that has booted with this disk; `$1` is where to mount it."""
        words: list[str | Path] = ["unshare", "--mount", "bash", "-ec", ALONE + script]
        words += [self.folder, self.folder / "data"]
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        variables = {"CM_DISKS": str(self.folder / "by-id"), "CM_PATIENCE": "1", "PATH": path}
        return subprocess.run(words, capture_output=True, text=True, env=variables, check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Return a new disk with nothing on it."""
    if os.geteuid() != 0:
        refuse("only root can make a disk of a file")
    for name in ("etc", "work", "by-id"):
        (tmp_path / name).mkdir()
    with (tmp_path / "file").open("wb") as file:
        file.truncate(64 * 2**20)
    words: list[str | Path] = ["losetup", "--find", "--show", tmp_path / "file"]
    looped = subprocess.run(words, capture_output=True, text=True, check=False)
    if looped.returncode:
        pytest.skip(f"this machine's kernel gives no loop device: {looped.stderr.strip()}")
    device = looped.stdout.strip()
    (tmp_path / "by-id" / f"virtio-{VOLUME[:20]}").symlink_to(device)
    yield Disk(device, tmp_path)
    subprocess.run(["losetup", "--detach", device], check=True)


def test_a_new_volume_is_mounted_and_stays_so(disk: Disk) -> None:
    """It gets a file system and a line in fstab; doing it again changes nothing."""
    done = disk.node(f"{MOUNT}; {MOUNT}; findmnt -no SOURCE,FSTYPE $1; grep -c $1 /etc/fstab; umount $1; mount $1")

    assert done.stdout.split() == [disk.device, "ext4", "1"], done.stderr


def test_what_is_on_a_volume_stays(disk: Disk) -> None:
    """A node that was made anew finds what it has written to its volume."""
    disk.node(f"{MOUNT}; echo kept >$1/file")
    done = disk.node(f"{MOUNT}; cat $1/file")

    assert done.stdout == "kept\n", done.stderr


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("mkdir $1; touch $1/mine", "is not empty"),
        (PARTITIONS, "has partitions"),
        ("rm $0/by-id/*", f"is volume {VOLUME}"),
        ("mkdir $1; mount -t tmpfs none $1", "something else is mounted there"),
    ],
    ids=["full", "partitions", "absent", "taken"],
)
def test_nothing_is_overwritten_or_hidden(disk: Disk, before: str, why: str) -> None:
    """A folder that is not empty, a disk that has partitions or has not come: an error that says so, and no format."""
    done = disk.node(f"{before}; {MOUNT}")
    words = ["blkid", "--probe", "-o", "value", "-s", "TYPE", disk.device]
    found = subprocess.run(words, capture_output=True, check=False)

    assert done.returncode != 0
    assert why in done.stderr
    assert found.stdout.strip() == b""
