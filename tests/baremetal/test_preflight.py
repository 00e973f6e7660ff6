"""Preflight: everything that is wrong on any machine is found in one run, with what to type, and nothing is changed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from tests.baremetal.differences import differences
from tests.support.command_line import Answer, CommandLine
from tests.support.engine_nodes import address
from tests.support.machines import Machines, machines

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
CLOSED, WRONG_KEY, OPEN_FILE, NO_SUDO, CLOCK, FULL, BLOCKED, UNKNOWN = range(2, 10)
BREAK = {
    CLOSED: "kill $(cat /run/sshd.pid)",
    WRONG_KEY: "sed -i 1d /home/admin/.ssh/authorized_keys",
    OPEN_FILE: "chmod 666 /home/admin/.ssh/authorized_keys",
    NO_SUDO: "grep -rl NOPASSWD /etc/sudoers /etc/sudoers.d | xargs sed -i 's/NOPASSWD://'",
    CLOCK: f"printf 'LD_PRELOAD={FAKETIME}\\nFAKETIME=+1h\\nFAKETIME_DONT_FAKE_MONOTONIC=1\\n' >> /etc/environment",
    FULL: "mount -t tmpfs -o size=1m tmpfs /opt",
    BLOCKED: f"ip rule add to {address(1)} ipproto 6 dport 22 prohibit",
    UNKNOWN: "true",
}
"""What is broken on which machine, as root; machine 1 is well. The last one's host key is not known to the user."""
EXPECTED = {
    CLOSED: ("port 22 does not answer", "sudo systemctl start ssh"),
    WRONG_KEY: ("user admin is not let in", "ssh-copy-id -i {key} admin@{address}"),
    OPEN_FILE: ("user admin is not let in", "chmod 600 ~admin/.ssh/authorized_keys"),
    NO_SUDO: ("admin can't use sudo without a password", "sudo tee /etc/sudoers.d/admin"),
    CLOCK: ("its clock is +3600 s off", "timedatectl set-ntp true"),
    FULL: ("disk full: /opt", "du -xh --max-depth=2 /opt"),
    BLOCKED: (
        f"port 22 of machine {address(1)} (master) is blocked from here",
        f"on {address(1)}: sudo ufw allow from {{address}}",
    ),
    UNKNOWN: ("its host key is not known", "ssh-keyscan {address} >> ~/.ssh/known_hosts"),
}


@dataclass(frozen=True)
class Broken:
    """Machines on which something is broken, and what lay on their disks after that."""

    machines: Machines
    before: Mapping[int, Mapping[str, str]]

    @property
    def as_root(self) -> Machines:
        """The machines as seen by a root who is let in whatever is broken for others."""
        return replace(self.machines, nodes=replace(self.machines.nodes, user="root"))


@pytest.fixture(scope="module")
def broken(cm_cache: Path, layers: tuple[Path, ...]) -> Iterator[Broken]:
    """Return nine machines, all but the first broken in a way of their own."""
    folder = Path(tempfile.mkdtemp(prefix="cm-metal-"))
    faketime = images.ensure_layer(cm_cache, layers, ["libfaketime"], ids=ids_of_this_user())
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "own"], check=True)
    own = (folder / "own.pub").read_text().strip()
    with machines(folder, cm_cache / "images", faketime, [1, *BREAK]) as made:
        made.introduce([index for index in made.indices if index != UNKNOWN])
        let_in = "sudo install -D -m 600 ~/.ssh/authorized_keys /root/.ssh/authorized_keys"
        result = Broken(replace(made, key=folder / "own"), {})
        for index in made.indices:
            made.nodes.run(index, f"{let_in}; sed -i '1i {own}' ~/.ssh/authorized_keys")
        for index, line in BREAK.items():
            result.as_root.nodes.run(index, line)
        reachable = [index for index in made.indices if index != CLOSED]
        yield replace(result, before={index: result.as_root.listing(index) for index in reachable})
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def answer(broken: Broken, shared_cm: CommandLine) -> Answer:
    """Return what `create` says of the broken machines."""
    broken.machines.write_provider(shared_cm)
    broken.machines.write_profile(shared_cm, "broken")
    return shared_cm("cluster", "create", "broken", "-p", "broken", expect=2)


def problems(answer: Answer) -> list[str]:
    """Return what `cm` says is in the way, a line each."""
    return [line for line in answer.stderr.partition("cm: ")[2].splitlines() if line.startswith("machine ")]


@pytest.mark.parametrize("index", BREAK)
def test_everything_is_found_at_once(broken: Broken, answer: Answer, index: int) -> None:
    """Each of eight machines that are broken differently is named with what is wrong there and what to type."""
    what, fix = (text.format(address=address(index), key=broken.machines.key) for text in EXPECTED[index])
    machine = f"machine {address(index)} (worker-{index - 1}): "

    assert [line for line in problems(answer) if machine in line and what in line and fix in line], str(answer)


def test_what_is_well_is_not_named(answer: Answer) -> None:
    """Of a machine on which nothing is broken nothing is said, and of the others nothing else."""
    assert not [line for line in problems(answer) if f"machine {address(1)} (master): " in line]
    assert len(BREAK) == len(problems(answer)), str(answer)


def test_nothing_is_changed(broken: Broken, answer: Answer, shared_cm: CommandLine) -> None:
    """After a preflight that found something the disks are as before, and there is no cluster."""
    assert "[]" == shared_cm("cluster", "list", "-f", "json").stdout.strip()
    for index, before in broken.before.items():
        assert {} == differences(before, broken.as_root.listing(index))


def test_a_provider_check_looks_at_machines_too(broken: Broken, answer: Answer, shared_cm: CommandLine) -> None:
    """`provider check` with a profile finds the same without making a cluster."""
    checked = shared_cm("provider", "check", "bare_metal", "-p", "broken", "-f", "json", expect=2)

    assert len(BREAK) == checked.stdout.count('"problem"'), checked
