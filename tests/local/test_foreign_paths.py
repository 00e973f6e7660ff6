"""Root on a node and paths that somebody else may write: links that users put there lead root nowhere."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster import first_contact, keys
from cloudmesh_cluster.hosts import authorized_keys_block, hosts_block, known_hosts_block
from cloudmesh_cluster.model import Node
from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from tests.support.engine_nodes import Nodes, nodes

MEMBERS = [
    Node("t-master", "master", 0, "running", "10.88.1.1"),
    Node("t-worker-1", "worker", 1, "running", "10.88.1.2"),
]
PRIZES = ("/etc", "/etc/shadow", "/etc/passwd", "/etc/ssh")
"""What must be the same after every attack."""
# A file that asks to be looked at, a link in its place, the file again...; and links for whatever root makes beside it.
RACE = r"""
import os, sys, time
os.chdir(os.path.expanduser("~/.ssh"))
open("bait", "w").write("ssh-ed25519 AAAA x cm-bootstrap x\n")
os.chmod("bait", 0o666)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    os.link("bait", "file")
    os.rename("file", "authorized_keys")
    for name in os.listdir("."):
        if name.startswith("authorized_keys."):
            os.symlink("/etc/shadow", "link")
            os.rename("link", name)
    os.symlink("/etc/shadow", "link")
    os.rename("link", "authorized_keys")
"""


@pytest.fixture(scope="module")
def node(cm_cache: Path) -> Iterator[Nodes]:
    """Return a node with an ordinary user, bob."""
    layers = images.ensure_base(cm_cache, ids=ids_of_this_user())
    folder = Path(tempfile.mkdtemp(prefix="cm-paths-"))
    bob = "useradd --create-home --shell /bin/bash bob && install -d -m 700 -o bob -g bob ~bob/.ssh"
    with nodes(folder, cm_cache / "images", layers) as made:
        made.boot([1], script=bob)
        yield made
    shutil.rmtree(folder)


def as_root(node: Nodes, step: first_contact.RemoteStep) -> str:
    """Run a step of the first contact as `cm` does, and return what it says."""
    return node.run(1, f"sudo -n -- bash -c {shlex.quote(step.command)}", stdin=step.stdin)


def look(node: Nodes) -> str:
    """Return owner, mode and digest of what an attack is after."""
    return node.run(1, f"sudo sh -c 'stat -c \"%U %G %a %n\" {' '.join(PRIZES)}; sha256sum /etc/shadow /etc/passwd'")


def wiring() -> first_contact.RemoteStep:
    """Return the step that wires a cluster of two."""
    public = {member.name: keys.generate(member.name).public for member in MEMBERS}
    return first_contact.wire(
        cluster="t",
        user="cm",
        hosts=hosts_block("t", MEMBERS),
        known_hosts=known_hosts_block("t", MEMBERS, {name: [key] for name, key in public.items()}),
        authorized_keys=authorized_keys_block("t", MEMBERS, public, "all"),
    )


def test_a_user_who_races_with_wire_gains_nothing(node: Nodes) -> None:
    """While root wires a node 20 times, a user who swaps files for links all the time changes nothing of root's."""
    before = look(node)
    race = shlex.quote(RACE)
    node.run(1, f"sudo -u bob setsid -f python3 -c {race} 6 </dev/null >/dev/null 2>&1")
    step = wiring()
    once = f"printf %s \"$all\" | bash -c {shlex.quote(step.command)}"
    repeated = f"IFS= read -rd '' all || true; for i in {{1..20}}; do {once}; done"

    said = node.run(1, f"sudo -n -- bash -c {shlex.quote(repeated)}", stdin=step.stdin)

    assert ({"ok"}, before) == (set(said.split()), look(node))
    assert "" == node.run(1, "sudo find /home/bob -uid 0")
