"""Clusters of machines that grow, shrink, fail and carry plugins: a machine that goes is as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.baremetal.differences import differences
from tests.command_line import CommandLine
from tests.engine_nodes import address
from tests.journal_watch import Instant, signalled
from tests.machines import Machines

PLUGIN = {
    "plugin.yaml": "description: leaves traces\npackages: [tree]\nports:\n  web: {number: 8123}\n",
    "all.sh": """\
#!/bin/bash
set -euo pipefail
case $1 in
    install)
        useradd --system traces
        mkdir -p /opt/traces
        cm-service add traces -- sleep 1000000
        ;;
    uninstall)
        cm-service remove traces
        rm -rf /opt/traces
        userdel traces
        ;;
esac
""",
}
TAKEN = Instant("unknown machine taken", "SELECT 1 FROM nodes WHERE state='taken' AND name='new-worker-1'")
JUMP = """\
Host {far}
    ProxyJump admin@{near}
    IdentityFile {key}
    UserKnownHostsFile {known_hosts}
"""


@dataclass(frozen=True)
class Field:
    """Four machines, what lay on their disks at first, and `cm`."""

    cm: CommandLine
    machines: Machines
    before: Mapping[int, Mapping[str, str]]

    def left_on(self, *indices: int) -> dict[int, Mapping[str, tuple[str, str]]]:
        """Return what is left on some machines."""
        found = {index: differences(self.before[index], self.machines.listing(index)) for index in indices}
        return {index: paths for index, paths in found.items() if paths}


@pytest.fixture(scope="module")
def field(shared_cm: CommandLine, four: Machines) -> Iterator[Field]:
    """Return four machines: the third has its SSH server on another port too, the fourth is behind the first."""
    names = {"far": address(4), "near": address(1), "key": four.key, "known_hosts": four.known_hosts}
    four.introduce(also=JUMP.format(**names))
    four.nodes.run(3, "sudo /usr/sbin/sshd -p 2222")
    for index in four.indices:
        # The image lacks this folder of many packages; dpkg makes it for the first, and keeps it for the others.
        four.nodes.run(index, "sudo mkdir -p /usr/share/man/man1")
    four.write_provider(shared_cm)
    folder = shared_cm.home / "plugins" / "traces"
    folder.mkdir(parents=True)
    for name, content in PLUGIN.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
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
    """With a plugin and its packages: spare machines of the list join, one that leaves is as it was, and so are all."""
    also = "roles: {worker: {count: 1}}\nplugins: [traces]\n"
    field.machines.write_profile(field.cm, "wide", also=also, machines=[1, 2, f"{address(3)}:2222", 4])
    profile = field.cm.home / "profiles.d" / "wide.yaml"
    profile.write_text(profile.read_text().replace("num_nodes: 4\n", ""))
    field.cm("cluster", "create", "wide", "-p", "wide")
    field.cm("cluster", "scale", "wide", "+2")
    field.cm("cluster", "verify", "wide", "--full-mesh")
    refused = field.cm("cluster", "scale", "wide", "+1", expect=2)
    nodes = field.cm("cluster", "nodes", "wide", "-f", "value", "-c", "provider_id").stdout.split()
    field.cm("cluster", "cmd", "wide", "--", "tree --version && test -d /opt/traces && id traces")
    line = "ssh worker-2 'echo $SSH_CONNECTION'"
    [to_worker_2] = json.loads(field.cm("cluster", "cmd", "wide", "-t", "master", "-f", "json", "--", line).stdout)
    field.cm("cluster", "scale", "wide", "-1")
    gone = field.left_on(4)
    field.cm("cluster", "delete", "wide", "-y")

    assert [address(1), address(2), f"{address(3)}:2222", address(4)] == nodes
    assert "0 of the 3 in machines.compute are free" in refused.stderr
    assert "2222" == to_worker_2["stdout"].split()[-1]
    assert {} == gone
    assert {} == field.left_on(1, 2, 3, 4)


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
    rows = json.loads(field.cm("cluster", "nodes", "new", "-f", "json").stdout)
    field.cm("cluster", "delete", "new", "-y")
    left = field.left_on(1, 2)
    known_hosts.write_text(everybody)

    assert 1 == refused.stderr.count("its host key is not known")
    assert refused.stderr.index("ssh-keyscan") < refused.stderr.index("host_key: ") < refused.stderr.index("--trust-on")
    assert json.loads(dry.stdout)["trust_on_first_use"]
    assert "new-worker-1: warning: its host key SHA256:" in killed.stderr
    assert ["known hosts", "first use"] == [row["host_key_from"] for row in rows]
    assert {} == left


def test_a_machine_that_does_not_answer_is_not_forgotten(field: Field) -> None:
    """Delete says which machine could not be given back and exits with 4; when it answers again, delete finishes."""
    field.machines.write_profile(field.cm, "pair", machines=[1, 2])
    field.cm("cluster", "create", "pair", "-p", "pair")
    field.machines.nodes.engine.stop(["n2"])
    left = field.cm("cluster", "delete", "pair", "-y", expect=4)
    field.machines.nodes.engine.start(["n2"])
    field.machines.nodes.wait([2], boots=2)
    field.cm("cluster", "delete", "pair", "-y")

    # A machine that was switched off and on has cloud-init's notes of another boot.
    paths = [path for left_there in field.left_on(1, 2).values() for path in left_there]
    found = [path for path in paths if not path.startswith("./var/lib/cloud/")]

    assert f"machine {address(2)} (pair-worker-1)" in left.stderr
    assert [] == found
