"""What owns a root file system, a node's root or an image, reaches nothing outside of it through links and programs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.engine import Engine
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from cloudmesh_cluster.providers.local.engine.own_addresses import OwnAddresses
from tests.support.command_line import CommandLine
from tests.support.engine_nodes import GATEWAY, Nodes, nodes

BAIT = "/mnt/nodes/n2/disk/upper"
"""Another node's disk, as it was in sight while nodes were being born."""
LINKS_OUT = f"""
ln -sf {BAIT}/hostname /etc/hostname
ln -sf {BAIT}/resolver /etc/resolv.conf
umount -l /var/lib/cloud/seed/config_drive
rm -rf /var/lib/cloud/seed; ln -s {BAIT} /var/lib/cloud/seed
"""
DANGLING = """
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
for folder in run proc sys dev; do
    umount -l /$folder; rm -rf /$folder; ln -s /nowhere/$folder /$folder
done
"""


@pytest.fixture
def alone(tmp_path: Path, cm_cache: Path) -> Iterator[Nodes]:
    """Return an engine without nodes, for a test of its own."""
    layers = images.ensure_base(cm_cache, ids=ids_of_this_user())
    with nodes(tmp_path, cm_cache / "images", layers) as made:
        yield made


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that everybody of this machine may write, as far as its rights go."""
    folder = Path(tempfile.mkdtemp(prefix="cm-bait-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_a_node_that_starts_again_writes_on_its_own_disk_alone(alone: Nodes) -> None:
    """Whatever links a node's root has left in the places that a start fills, nothing comes of them, and it starts."""
    alone.boot([1, 2])
    disk = alone.folder / "engine" / "nodes" / "n2" / "disk" / "upper"
    alone.ssh(1, f"sudo sh -c '{LINKS_OUT}'")
    alone.ssh(2, f"sudo sh -c '{DANGLING}'")
    before = set(os.listdir(disk))
    alone.engine.close()

    alone.engine.open()
    alone.engine.start(["n1"])
    alone.wait([1], boots=2)

    assert set() == set(os.listdir(disk)) - before
    assert "n1" == alone.run(1, "cat /etc/hostname")
    alone.engine.start(["n2"])
    alone.wait([2], boots=2)
    assert "/run/sshd /sys/class" == alone.run(2, "ls /proc/self /dev/pts > /dev/null && echo /run/ssh? /sys/clas?")
    assert alone.run(2, "cat /etc/resolv.conf").startswith("nameserver") or alone.engine.open()


def test_a_half_removed_disk_is_not_used_again(alone: Nodes, open_folder: Path) -> None:
    """A node that is made where a removal was cut off has an empty disk, and no link of the old one is followed."""
    kept = open_folder / "kept"
    kept.touch()
    owner = kept.stat().st_uid, kept.stat().st_gid
    alone.boot([1])
    alone.run(1, f"sudo ln -s {kept} /var/tmp/link; sudo touch /var/tmp/old")
    alone.engine.stop(["n1"])
    (alone.folder / "engine" / "nodes" / "n1" / "spec.json").unlink()

    alone.boot([1])

    assert owner == (kept.stat().st_uid, kept.stat().st_gid)
    assert "" == alone.run(1, "ls -A /var/tmp")


def test_a_new_node_takes_the_place_of_one_that_was_removed_while_it_ran(alone: Nodes) -> None:
    """When the one who removed a node was killed before the node had ended, the next of its name is a new one."""
    alone.boot([1])
    alone.run(1, "touch /tmp/old")
    alone.engine._remove([alone.folder / "engine" / "nodes" / "n1"])

    alone.boot([1])

    assert "" == alone.run(1, "ls /tmp/old 2> /dev/null || true")


def test_root_of_an_ordinary_users_node_writes_into_no_file_of_that_user(user_cm: CommandLine) -> None:
    """Root of a node is that user outside: a link to the user's file, where a start writes, leaves the file alone."""
    precious = user_cm.home.parent / "precious"
    user_cm("cluster", "create", "own", "-n", "1", timeout=600)
    try:
        shell(user_cm, f"echo mine > {precious}")
        for file in ("hostname", "resolv.conf"):
            user_cm("cluster", "cmd", "own", f"sudo ln -sf {precious} /etc/{file}")
        user_cm("cluster", "stop", "own")
        user_cm("cluster", "start", "own")

        assert "mine\n" == precious.read_text()
        assert "own-worker-1" in user_cm("cluster", "cmd", "own", "-t", "worker-1", "cat /etc/hostname").stdout
    finally:
        user_cm("cluster", "delete", "own", "--force", "-y")


def shell(cm: CommandLine, line: str) -> str:
    """Return what a shell line prints that runs as the user of a command line."""
    words = ["sh", "-c", line]
    return subprocess.run(
        words, user=cm.user, group=cm.user, capture_output=True, text=True, check=True, env=cm.environment()
    ).stdout


# --- what listens on this machine ----------------------------------------------------------------------------------


@contextmanager
def another_address() -> Iterator[str]:
    """Give this machine one more address for a while."""
    address = f"198.18.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
    subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
    try:
        yield address
    finally:
        subprocess.run(["ip", "addr", "del", f"{address}/32", "dev", "lo"], check=True)


def reaches(made: Nodes, address: str, port: int) -> bool:
    """Return whether a connection from the first node to an address ends with success; a refusal comes at once."""
    return made.ssh(1, f"timeout 10 bash -c '</dev/tcp/{address}/{port}'").returncode == 0


def test_nodes_do_not_reach_what_listens_on_this_machine_unless_they_may(alone: Nodes) -> None:
    """Its own addresses, those that it gets later too, and 169.254.0.0/16 answer a node with `host_access` alone."""
    if alone.engine.open(GATEWAY, host_access=True):
        pytest.skip("nodes have no way out here")
    alone.boot([1])
    with socket.create_server(("", 0)) as listener, contextlib.ExitStack() as stack:
        port = listener.getsockname()[1]
        own = [address for address in OwnAddresses().now() if not address.startswith("127.")]
        assert own == [address for address in own if reaches(alone, address, port)]
        alone.engine.close()

        alone.engine.open()
        alone.engine.start(["n1"])
        alone.wait([1], boots=2)
        if os.geteuid() == 0:
            own.append(stack.enter_context(another_address()))

        assert [] == [address for address in own if reaches(alone, address, port)]
        assert 1 == alone.ssh(1, "timeout 10 bash -c '</dev/tcp/169.254.169.254/80'").returncode, "refused, not lost"


# --- images that are somebody else's -------------------------------------------------------------------------------

BREAK_OUT = """#!/bin/sh
# A process that enters its own mount namespace again gets that namespace's root, whatever its own one was.
exec nsenter --mount=/proc/self/ns/mnt /bin/sh -c '
for place in {bait} /mnt/images/*/rootfs /mnt/*/rootfs /mnt/below*; do echo owned > $place/owned; done
exit 0'
"""
APT_GET = "#!/bin/sh\nmkdir -p /var/lib/apt/lists\n"
USE = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.engine import Engine
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
ids, cache = ids_of_this_user(), Path(sys.argv[2])
base = images.ensure_base(cache, ids=ids, source=Path(sys.argv[3]))
print(images.ensure_layer(cache, base, ["anything"], ids=ids)[0])
"""


def evil_image(tarball: Path, bait: Path) -> None:
    """Write an image whose links lead to `bait`, and whose programs break out and write there."""
    programs = [Path(shutil.which(name) or name).resolve() for name in ("dash", "nsenter", "mkdir")]
    with tarfile.open(tarball, "w") as archive:
        for program in programs:
            archive.add(program, f"usr/bin/{program.name}")
        for library in sorted({line for program in programs for line in libraries(program)}):
            archive.add(Path(library).resolve(), f"usr{library}" if library.startswith("/lib") else library[1:])
        for name in ("proc", "sys", "dev"):
            add(archive, name)
        for name in ("bin", "lib", "lib64", "sbin"):
            add(archive, name, link=f"usr/{name}")
        add(archive, "usr/bin/sh", link="dash")
        for name in ("usr/sbin/sshd", "usr/bin/cloud-init", "usr/bin/python3", "usr/bin/env"):
            add(archive, name, content="#!/bin/sh")
        add(archive, "usr/sbin/update-ca-certificates", content=BREAK_OUT.format(bait=bait))
        add(archive, "usr/bin/apt-get", content=APT_GET)
        add(archive, "etc/machine-id", link=f"{bait}/machine-id")
        add(archive, "etc/ssh", link=f"{bait}/keys")


def libraries(program: Path) -> list[str]:
    """Return the shared libraries that a program needs, its loader included."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
    return [word for word in listed if word.startswith("/")]


def add(archive: tarfile.TarFile, name: str, *, content: str = "", link: str = "") -> None:
    """Put a link, a program, or a folder into an archive."""
    member = tarfile.TarInfo(name)
    member.mode, member.size = 0o755, len(content)
    if link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    elif not content:
        member.type = tarfile.DIRTYPE
    archive.addfile(member, BytesIO(content.encode()))


@pytest.mark.parametrize("ordinary", [False, True])
def test_an_image_of_somebody_else_touches_nothing_but_its_own_layer(
    ordinary: bool, open_folder: Path, request: pytest.FixtureRequest
) -> None:
    """Its links are not followed, and its programs, which run when packages are installed, do not get out."""
    cm = request.getfixturevalue("user_cm") if ordinary else CommandLine(open_folder, open_folder)
    bait = open_folder / "bait"
    (bait / "keys").mkdir(parents=True)
    (bait / "machine-id").write_text("precious")
    (bait / "keys" / "ssh_host_ed25519_key").write_text("precious")
    for path in (bait, *bait.rglob("*")):
        path.chmod(0o777)
    evil_image(open_folder / "image.tar", bait)
    words = [cm.python, "-c", USE, cm.environment()["PYTHONPATH"].split(os.pathsep)[0]]

    done = subprocess.run(
        [*words, open_folder / "cache", open_folder / "image.tar"],
        capture_output=True,
        text=True,
        check=False,
        user=cm.user,
        group=cm.user,
        env=cm.environment(),
    )

    assert 0 == done.returncode, done.stderr
    assert ["keys", "machine-id"] == sorted(os.listdir(bait))
    assert {"precious"} == {path.read_text() for path in bait.rglob("*") if path.is_file()}
    layers = sorted(path for path in (open_folder / "cache" / "images").glob("*-*"))
    assert 3 == len(layers)
    assert [] == [path for path in layers if (path / "rootfs" / "owned").exists()]


def test_the_layers_can_be_reached_by_their_user_alone(open_folder: Path) -> None:
    """Nobody else can run their setuid programs, also in a cache that was made when everybody could."""
    layers = open_folder / "images"
    layers.mkdir()
    layers.chmod(0o755)
    engine = Engine(open_folder / "engine", layers)
    try:
        engine.open(GATEWAY)

        assert 0 == layers.stat().st_mode & 0o007
        if os.geteuid() == 0:
            assert 0 != subprocess.run(["ls", layers], user="nobody", capture_output=True, check=False).returncode
    finally:
        engine.cleanup()
