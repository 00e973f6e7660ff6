"""Clusters of machines that grow, shrink, fail and carry plugins: a machine that goes is as it was."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.baremetal.differences import differences
from tests.support.command_line import CommandLine
from tests.support.engine_nodes import address
from tests.support.journal_watch import Instant, begun, signalled
from tests.support.machines import Machines
from tests.support.plugin_folder import write_plugin
from tests.support.reach import ORDINARY, who_may

PLUGIN = {
    "plugin.yaml": "description: leaves traces\npackages: [tree]\nports:\n  web: {number: 8123}\n",
    "all.sh": """\
#!/bin/bash
set -euo pipefail
case $1 in
    install)
        echo installing
        id -u traces >/dev/null 2>&1 || useradd --system traces
        mkdir -p /opt/traces
        cm-service add traces -- sleep 1000000
        ;;
    uninstall)
        cm-service remove traces
        rm -rf /opt/traces
        userdel traces || ! id -u traces
        ;;
esac
""",
}
# What hardened systems have: /usr/local is not on root's PATH, and what root makes is for root alone.
HARDENED = "Defaults secure_path=/usr/sbin:/usr/bin:/sbin:/bin, umask=0077, umask_override"
TAKEN = Instant("unknown machine taken", "SELECT 1 FROM nodes WHERE state='taken' AND name='new-worker-1'")
JUMP = """\
Host {far}
    ProxyJump admin@{near}:{port}
    IdentityFile {key}
    UserKnownHostsFile {known_hosts}
"""

TAKEN = Instant("a machine is taken", "SELECT 1 FROM nodes WHERE state='taken'")
INSTALLING = Instant("the plugin is being installed", path="clusters/far/logs/*/*traces*")


@dataclass(frozen=True)
class Field:
    """Four machines, what lay on their disks at first, and `cm`."""

    cm: CommandLine
    machines: Machines
    before: dict[int, Mapping[str, str]]

    def left_on(self, *indices: int) -> dict[int, Mapping[str, tuple[str, str]]]:
        """Return what is left on some machines."""
        found = {index: differences(self.before[index], self.machines.listing(index)) for index in indices}
        return {index: paths for index, paths in found.items() if paths}


@pytest.fixture(scope="module")
def field(shared_cm: CommandLine, four: Machines) -> Iterator[Field]:
    """Return four machines: one has an SSH server on another port too, with a banner; the last is behind the first."""
    names = {"far": address(4), "near": address(1), "port": 22, "key": four.key, "known_hosts": four.known_hosts}
    four.introduce(also=JUMP.format(**names))
    four.nodes.run(3, "sudo /usr/sbin/sshd -p 2222 -o Banner=/etc/issue.net")
    for index in four.indices:
        # The image lacks this folder of many packages; dpkg makes it for the first, and keeps it for the others.
        four.nodes.run(index, "sudo mkdir -p /usr/share/man/man1")
        four.nodes.run(index, f"echo {shlex.quote(HARDENED)} | sudo tee /etc/sudoers.d/hardened")
    four.write_provider(shared_cm)
    write_plugin(shared_cm.home, "traces", PLUGIN)
    yield Field(shared_cm, four, {index: four.listing(index) for index in four.indices})


def test_a_failed_create_gives_machines_back(field: Field) -> None:
    """A create that fails at its last check leaves nothing on the machines."""
    check = "checks:\n  - {name: never, on: worker, run: exit 7, within: 1s}\n"
    field.machines.write_profile(field.cm, "failing", also=check, machines=[1, 2])
    answer = field.cm("cluster", "create", "bad", "-p", "failing", expect=1)

    assert "never" in answer.stderr
    assert {} == field.left_on(1, 2)
    assert "[]" == field.cm("cluster", "list", "-f", "json").stdout.strip()


def test_grow_shrink_and_go(field: Field) -> None:
    """With a plugin and its packages: machines join from the list or by name; those that go are as they were."""
    also = "roles: {worker: {count: 1}}\nplugins: [traces]\n"
    field.machines.write_profile(field.cm, "wide", also=also, machines=[1, 2, f"{address(3)}:2222"])
    profile = field.cm.home / "profiles.d" / "wide.yaml"
    profile.write_text(profile.read_text().replace("num_nodes: 3\n", ""))
    field.cm("cluster", "create", "wide", "-p", "wide")
    field.cm("cluster", "scale", "wide", "+1")
    refused = {
        words: field.cm("cluster", "scale", "wide", *words, expect=2).stderr
        for words in (
            ("+1",), (), ("+2", "--machine", address(4)), ("--machine", address(2)), ("--machine", "10.88.1.9"),
            ("--machine", "a b"),
        )
    }  # fmt: skip
    field.cm("cluster", "scale", "wide", "--machine", address(4))
    field.cm("cluster", "replace", "wide", "worker-3")
    field.cm("cluster", "verify", "wide", "--full-mesh")
    nodes = field.cm("cluster", "nodes", "wide", "-f", "value", "-c", "provider_id").stdout.split()
    field.cm("cluster", "cmd", "wide", "--", "tree --version && id traces")
    line = "stat -c %a /opt/traces /usr/local/lib/cm/plugins/traces"
    modes = json.loads(field.cm("cluster", "cmd", "wide", "-f", "json", "--", line).stdout)
    line = "ssh worker-2 'echo $SSH_CONNECTION'"
    [to_worker_2] = json.loads(field.cm("cluster", "cmd", "wide", "-t", "master", "-f", "json", "--", line).stdout)
    field.cm("cluster", "scale", "wide", "-1")
    gone = field.left_on(4)
    field.cm("cluster", "delete", "wide", "-y")

    assert [address(1), address(2), f"{address(3)}:2222", address(4)] == nodes
    for reason, said in zip(
        ("0 of the 2 in machines.compute are free", "say how many", "1 machines are named, and 2 workers are to come",
         f"machine {address(2)} is wide-worker-1 already", "machine 10.88.1.9 (worker-3): ", "'a b' is no machine"),
        refused.values(), strict=True,
    ):  # fmt: skip
        assert reason in said
    assert "2222" == to_worker_2["stdout"].split()[-1]
    assert ({"755\n755\n"}, {}) == ({row["stdout"] for row in modes}, gone)
    assert {} == field.left_on(1, 2, 3, 4)


def test_services_answer_the_machines_of_the_cluster_alone(field: Field) -> None:
    """Not the fourth machine, nor their gateway; a machine that is given back has no rules any more."""
    field.machines.write_profile(field.cm, "closed", also="plugins: [traces]\n", machines=[1, 2])
    said = field.cm("cluster", "create", "closed", "-p", "closed").stderr
    serve = "setsid python3 -m http.server 8123 >/dev/null 2>&1 </dev/null & echo $! >/run/served; sleep 2"
    end = f"kill $(cat /run/served); rm /run/served; userdel {ORDINARY}"
    field.cm("cluster", "cmd", "closed", "--", f"sudo sh -c {shlex.quote(serve)}")
    rows = [row for row in who_may(field.cm, "closed", field.machines.nodes.folder / "engine") if row.port == 8123]
    machine_4 = field.machines.nodes.run(4, f"timeout 3 bash -c '</dev/tcp/{address(1)}/8123' 2>&1 || echo refused")
    field.cm("cluster", "cmd", "closed", "--", f"sudo sh -c {shlex.quote(end)}")
    field.cm("cluster", "delete", "closed", "-y")

    assert "nftables is installed with the plugins" in said
    assert [("open", "open", "refused")] * 2 == [(row.same_node, row.other_node, row.outside) for row in rows]
    assert "refused" in machine_4
    assert {} == field.left_on(1, 2)


def test_a_machine_that_is_trusted_on_first_use(field: Field) -> None:
    """A host key that nobody knows is refused, or trusted once if asked: it is held to by resume, and gives back."""
    known_hosts = field.machines.known_hosts
    everybody = known_hosts.read_text()
    known_hosts.write_text("".join(line for line in everybody.splitlines(True) if not line.startswith(address(2))))
    field.machines.write_profile(field.cm, "new", machines=[1, 2])
    words = ("cluster", "create", "new", "-p", "new")
    refused = field.cm(*words, expect=2)
    dry = field.cm(*words, "--trust-on-first-use", "--dry-run", "-f", "json")
    killed = signalled(field.cm, *words, "--trust-on-first-use", at=TAKEN)
    field.cm("cluster", "resume", "new")
    rows = json.loads(field.cm("cluster", "nodes", "new", "-f", "json", "-c", "host_key_from").stdout)
    field.cm("cluster", "delete", "new", "-y")
    left = field.left_on(1, 2)
    known_hosts.write_text(everybody)

    assert 1 == refused.stderr.count("its host key is not known")
    assert refused.stderr.index("ssh-keyscan") < refused.stderr.index("host_key: ") < refused.stderr.index("--trust-on")
    assert json.loads(dry.stdout)["trust_on_first_use"]
    assert "new-worker-1: warning: its host key SHA256:" in killed.stderr
    assert ["known hosts", "first use"] == [row["host_key_from"] for row in rows]
    assert {} == left


def test_a_bundle_brings_debian_packages(field: Field, tmp_path: Path) -> None:
    """Machines without a way out get a plugin's packages, and what these need, from a bundle, and are given back."""
    field.machines.write_profile(field.cm, "gap", also="plugins: [traces]\n", machines=[1, 2])
    bundle, there = tmp_path / "gap.bundle", CommandLine(field.cm.home, tmp_path / "empty")
    field.cm("bundle", "create", "-p", "gap", "--release", "bookworm", "-o", str(bundle))
    used = there("bundle", "use", str(bundle))
    routes = {index: field.machines.nodes.run(index, "ip route show default") for index in (1, 2)}
    for index in routes:
        # What an earlier test has installed is known and kept by apt.
        field.machines.nodes.run(index, "sudo sh -c 'apt-get clean; rm -rf /var/lib/apt/lists/*; ip route del default'")
    without = field.cm("cluster", "create", "gap", "-p", "gap", expect=1)
    there("cluster", "create", "gap", "-p", "gap")
    there("cluster", "cmd", "gap", "--", "tree --version")
    there("cluster", "delete", "gap", "-y")
    for index, route in routes.items():
        field.machines.nodes.run(index, f"sudo ip route add {route}")

    assert "debs/bookworm/" in used.stdout
    assert not list(field.cm.cache.glob("*/debs-*"))
    assert "packages of traces failed" in without.stderr
    assert {} == field.left_on(1, 2)


def test_a_machine_that_does_not_answer_is_not_forgotten(field: Field) -> None:
    """Delete says which machine could not be given back and exits with 4; when it answers again, delete finishes."""
    field.machines.write_profile(field.cm, "pair", machines=[1, 2])
    field.cm("cluster", "create", "pair", "-p", "pair")
    field.machines.nodes.engine.stop(["n2"])
    left = field.cm("cluster", "delete", "pair", "-y", expect=4)
    field.machines.nodes.engine.start(["n2"])
    field.machines.nodes.wait([2], boots=2)
    field.cm("cluster", "delete", "pair", "-y")

    # A machine that was switched off and on has cloud-init's notes of another boot, which the next tests find there.
    paths = [path for left_there in field.left_on(1, 2).values() for path in left_there]
    found = [path for path in paths if not path.startswith("./var/lib/cloud/")]
    field.before[2] = field.machines.listing(2)

    assert f"machine {address(2)} (pair-worker-1)" in left.stderr
    assert [] == found


def test_killed_behind_one_jump_host(field: Field) -> None:
    """Three machines behind one that takes few logins at once; cm is killed again and again, and all is given back."""
    field.machines.nodes.run(1, "sudo /usr/sbin/sshd -p 2223 -o MaxStartups=1:100:1")
    names = {"near": address(1), "key": field.machines.key, "known_hosts": field.machines.known_hosts}
    field.machines.introduce(also="".join(JUMP.format(far=address(index), **names, port=2223) for index in (2, 3, 4)))
    keys = [line for line in field.machines.known_hosts.read_text().splitlines() if line.startswith(f"{address(1)} ")]
    with field.machines.known_hosts.open("a") as file:
        file.writelines(line.replace(address(1), f"[{address(1)}]:2223") + "\n" for line in keys)
    field.machines.write_profile(field.cm, "far", also="plugins: [traces]\n", machines=[1, 2, 3, 4])

    killed = [
        signalled(field.cm, "cluster", "create", "far", "-p", "far", at=TAKEN),
        signalled(field.cm, "cluster", "resume", "far", at=INSTALLING),
    ]
    field.cm("cluster", "resume", "far")
    ready = field.cm("cluster", "list").stdout
    killed.append(signalled(field.cm, "cluster", "delete", "far", "-y", at=begun("destroy")))
    field.cm("cluster", "delete", "far", "-y")

    assert "ready" in ready
    assert [answer.exit for answer in killed] == [-signal.SIGKILL] * 3
    assert {} == field.left_on(1, 2, 3, 4)
