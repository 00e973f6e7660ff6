"""Root on a node and paths that somebody else may write: links that users put there lead root nowhere."""

from __future__ import annotations

import base64
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node, PluginUse, RoleSpec
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.nodes import boot_steps as first_contact
from cloudmesh_cluster.nodes import keys
from cloudmesh_cluster.nodes.hosts import authorized_keys_block, hosts_block, known_hosts_block
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.plugins.settings import settings_sh
from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from cloudmesh_cluster.ssh.files import tarball
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
    names = "echo 10.88.1.1 n1 n2 >>/etc/hosts"
    with nodes(folder, cm_cache / "images", layers) as made:
        made.boot([1], script=f"{names} && {bob}")
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


@dataclass(frozen=True)
class Attack:
    """What a service's user does in the folders that it owns, and what root's role scripts do then.

    Args:
        plugin: whose scripts.
        folder: which belongs to the user, whose name is that of the plugin.
        links: where they lead, by their path below the folder.
        line: a shell line in the plugin's folder, as root; it may fail.
        settings: of the plugin.

    """

    plugin: str
    folder: str
    links: dict[str, str]
    line: str
    settings: dict[str, str] = field(default_factory=dict)


ATTACKS = [
    Attack(
        "spark", "/var/lib/spark", {"warehouse": "/etc", "work": "/etc"}, "./all.sh join", {"java_home": "/usr/lib/x"}
    ),
    Attack("ipyparallel", "/var/lib/ipyparallel", {"profile": "/etc"}, "./all.sh install"),
    Attack("zookeeper", "/var/lib/zookeeper", {"conf": "/etc"}, ". files/common.sh; configure server.1=x"),
    Attack("zookeeper", "/var/lib/zookeeper", {"myid.new": "/etc/shadow"}, ". files/common.sh; configure server.1=x"),
    Attack("ganglia", "/var/lib/cm-ganglia", {"rrds": "/etc"}, ". files/common.sh; configure_gmetad"),
    Attack("hadoop", "/var/log/hadoop", {"x.log": "/etc/shadow"}, ". files/common.sh; log_of x"),
    Attack("slurm", "/var/lib/slurm", {"ctld": "/etc", "d": "/etc"}, "./all.sh install"),
]


def bring(node: Nodes, plugin: str, **settings: str) -> str:
    """Bring a plugin's folder to the node as `cm` does; return the shell line that goes there."""
    (chosen,) = resolve([PluginUse(plugin, settings)], Home(Path("/nonexistent"), Path("/nonexistent")))
    spec = RoleSpec(count=1, memory=1024, cpus=1.0)
    files = {
        str(path.relative_to(chosen.plugin.folder)): (path.read_bytes(), 0o755)
        for path in chosen.plugin.folder.rglob("*")
        if path.is_file()
    }
    files |= {f"secrets/{name}": (b"secret", 0o600) for name in ("key", "super", "munge.key")}
    files["plugin.sh"] = (resource("scripts", "boot", "plugin.sh").read_bytes(), 0o755)
    files["settings.sh"] = (settings_sh(chosen, master=spec, worker=spec, role="master"), 0o644)
    folder = f"/usr/local/lib/cm/plugins/{plugin}"
    archive = base64.b64encode(tarball(files))
    node.run(1, f"sudo mkdir -p {folder} && base64 -d | sudo tar -x --no-same-owner -C {folder}", stdin=archive)
    variables = {"CLUSTER": "t", "ROLE": "master", "NODE": "n1", "MASTER": "n1", "MASTER_IP": "10.88.1.1"}
    variables |= {"NODES": "n1", "WORKERS": "n2", "INDEX": "0", "USER": "cm"}
    return f"cd {folder}; export {' '.join(f'CM_{name}={value}' for name, value in variables.items())}; "


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.plugin} {' '.join(attack.links)}")
def test_a_services_user_leads_root_nowhere(node: Nodes, attack: Attack) -> None:
    """Links in the folders of a service's user lead the role scripts, which root runs, to nothing of root's."""
    user, owned = attack.plugin, attack.folder
    links = " && ".join(f"sudo -u {user} ln -s {target} {owned}/{name}" for name, target in attack.links.items())
    made = f"id {user} >/dev/null 2>&1 || sudo useradd --system --home-dir {owned} {user}"
    node.run(1, f"({made}) && sudo rm -rf {owned} && sudo install -d -o {user} -g {user} {owned} && {links}")
    line = bring(node, attack.plugin, **attack.settings) + attack.line
    before = look(node)

    said = node.ssh(1, f"sudo -n bash -c {shlex.quote(line)} 2>&1").stdout

    assert before == look(node), said
    assert "root:" not in said


def test_who_may_make_environments_replaces_none(node: Nodes) -> None:
    """A user whom conda_acl names makes folders beside the environment root, but neither moves nor replaces it."""
    line = bring(node, "conda", conda_acl="bob")
    prefix = "/opt/anaconda"
    node.run(1, f"sudo bash -c {shlex.quote(line + './all.sh install')}")
    node.run(1, f"cd {prefix} && sudo mkdir -p .environments/root/d1 && sudo touch .environments/root/d1.whole")
    node.run(1, f"cd {prefix}/envs && sudo -u bob mkdir mine .root.new")
    script = shlex.quote(resource("scripts", "boot", "conda-environment").read_text())

    node.run(1, f"sudo bash -c {script} conda-environment use {prefix} root d1")
    moved = node.ssh(1, f"cd {prefix}/envs && sudo -u bob mv root gone")

    assert "root symbolic link" == node.run(1, f"stat -c '%U %F' {prefix}/envs/root")
    assert moved.returncode != 0


def test_a_user_who_races_with_wire_gains_nothing(node: Nodes) -> None:
    """While root wires a node 20 times, a user who swaps files for links all the time changes nothing of root's."""
    before = look(node)
    race = shlex.quote(RACE)
    node.run(1, f"sudo -u bob setsid -f flock /home/bob python3 -c {race} 6 </dev/null >/dev/null 2>&1")
    step = wiring()
    once = f'printf %s "$all" | bash -c {shlex.quote(step.command)}'
    repeated = f"IFS= read -rd '' all || true; for i in {{1..20}}; do {once}; done"

    said = node.run(1, f"sudo -n -- bash -c {shlex.quote(repeated)}", stdin=step.stdin)

    assert ({"ok"}, before) == (set(said.split()), look(node))
    assert "" == node.run(1, "sudo flock /home/bob find /home/bob -uid 0")
