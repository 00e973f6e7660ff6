"""The node engine: what it makes is a machine of its own, and can be taken away without a trace."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from cloudmesh_cluster.nodes.hosts import parse_console_host_keys
from cloudmesh_cluster.providers.local.engine import dial, images
from cloudmesh_cluster.providers.local.engine.engine import Engine
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from cloudmesh_cluster.providers.local.engine.limits import Limits, most_processes
from cloudmesh_cluster.providers.local.engine.processes import marked_processes
from cloudmesh_cluster.providers.local.engine.requirements import requirements
from tests.support.engine_nodes import GATEWAY, Nodes, address, nodes

SCRIPT = """
date >> /var/tmp/first-boots
printf '#!/bin/sh\\ndate >> /var/tmp/boots\\n' > /etc/rc.local
chmod 755 /etc/rc.local
"""


@pytest.fixture(scope="session")
def layers(cm_cache: Path) -> tuple[Path, ...]:
    """Return the layers of the base image, built when they are not in the cache."""
    return images.ensure_base(cm_cache, ids=ids_of_this_user())


@pytest.fixture(scope="module")
def pair(cm_cache: Path, layers: tuple[Path, ...]) -> Iterator[Nodes]:
    """Return two nodes, with limits, that tests only look at."""
    folder = Path(tempfile.mkdtemp(prefix="cm-engine-"))
    with nodes(folder, cm_cache / "images", layers) as made:
        made.boot([1, 2], script=SCRIPT, memory_mib=300, cpus=0.5)
        yield made
    shutil.rmtree(folder)


@pytest.fixture
def alone(tmp_path: Path, cm_cache: Path, layers: tuple[Path, ...]) -> Iterator[Nodes]:
    """Return an engine without nodes, for a test of its own."""
    with nodes(tmp_path, cm_cache / "images", layers) as made:
        yield made


def test_a_new_node_has_nothing_of_one_that_was_removed_in_part(alone: Nodes) -> None:
    """What a removal that was cut off has left, disk and console, is no part of the node that is made in its place."""
    alone.boot([1], script="touch /var/tmp/of-the-first")
    first = parse_console_host_keys(alone.console(1))
    alone.engine.stop(["n1"])
    (alone.folder / "engine" / "nodes" / "n1" / "spec.json").unlink()
    alone.boot([1])

    assert "" == alone.run(1, "ls /var/tmp")
    assert not set(first) & set(parse_console_host_keys(alone.console(1)))


# --- a node is a machine of its own ----------------------------------------------------------------------------


def test_cloud_init_has_done_what_user_data_says(pair: Nodes) -> None:
    """The user is there with sudo, the script has run once as root, and cloud-init reports no error."""
    result = json.loads(pair.run(1, "cat /run/cloud-init/result.json"))

    assert [] == result["v1"]["errors"]
    assert "ConfigDrive" in result["v1"]["datasource"]
    assert "0" == pair.run(1, "sudo id -u")
    assert "status: done" == pair.run(1, "cloud-init status --wait").strip(".\n")
    assert "1" == pair.run(1, "wc -l < /var/tmp/first-boots")


def test_a_node_has_its_own_name_and_processes(pair: Nodes) -> None:
    """A node sees its own host name and address, and no process but its own."""
    assert "n2" == pair.run(2, "hostname")
    assert address(2) in pair.run(2, "ip -4 addr show eth0")
    commands = pair.run(2, "ps -A -o comm=").split()
    assert {"sleep", "sshd"} <= set(commands) <= {"sleep", "sshd", "bash", "sh", "ps", "tee"}


def test_a_node_sees_nothing_of_the_machine(pair: Nodes) -> None:
    """No path of the machine shows in a node, and root of a node has no way to the machine's disks."""
    here = str(pair.folder), str(pair.images)
    seen = pair.run(1, "cat /proc/self/mountinfo; sudo cat /proc/1/environ; sudo ls -lA /mnt /root /proc/1/fd")

    assert [] == [path for path in here if path in seen]
    assert ["0", "1", "2"] == pair.run(1, "sudo ls /proc/1/fd").split()
    ignored = int(pair.run(1, "grep SigIgn /proc/1/status").split()[1], 16)
    assert 1 << signal.SIGCHLD - 1 == ignored & (1 << 31) - 1, "SIGCHLD and nothing else of what is not real-time"
    assert 0 != pair.ssh(1, "sudo mknod /tmp/disk b 254 0").returncode
    assert 0 != pair.ssh(1, "echo 1 | sudo tee /proc/sys/vm/swappiness").returncode
    assert 0 != pair.ssh(1, "sudo mount -o remount,rw /sys && echo 1 | sudo tee /sys/kernel/mm/ksm/run").returncode


def test_a_node_knows_the_names_of_services_and_protocols(pair: Nodes) -> None:
    """Programs look up ports and protocols by name."""
    assert "22/tcp" in pair.run(1, "getent services ssh")
    assert "tcp" in pair.run(1, "getent protocols 6")


def test_the_config_drive_is_read_only(pair: Nodes) -> None:
    """What a node was told at birth can't be changed from within."""
    assert 0 != pair.ssh(1, "sudo touch /var/lib/cloud/seed/config_drive/openstack/latest/user_data").returncode


def test_nodes_reach_each_other(pair: Nodes) -> None:
    """Nodes of one engine share a network."""
    assert "SSH-2.0" in pair.run(1, f"timeout 5 bash -c 'head -c 7 < /dev/tcp/{address(2)}/22'")


def test_nodes_reach_the_internet_where_the_machine_lets_them(pair: Nodes) -> None:
    """Names resolve by the machine's own resolver and apt works; without a way out the engine says why."""
    why = pair.engine.open()

    if why:
        assert "/dev/net/tun" in why or "slirp4netns" in why
        assert "" == pair.run(1, "cat /etc/resolv.conf")
    else:
        assert 0 == pair.ssh(1, "sudo apt-get -o APT::Update::Error-Mode=any update").returncode


def test_limits_are_kept(pair: Nodes) -> None:
    """A node that takes more memory than it may is stopped; where limits can't be set, the engine warns."""
    if warnings := pair.engine.start(["n1"]):
        assert ["no cpu and memory limit for nodes: this user may not make cgroups here"] == warnings
        return
    eat = "python3 -c 'x = bytearray({} << 20); print(len(x))'"

    assert str(100 << 20) == pair.run(1, eat.format(100))
    assert 0 != pair.ssh(1, eat.format(600)).returncode


def test_a_node_can_not_take_all_processes_of_the_machine(pair: Nodes) -> None:
    """A node that forks without end is stopped by its own limit, and its neighbour goes on."""
    files = [file for group in Limits(pair.folder / "engine").existing() for file in group.glob("pids.max")]
    if not files:
        pytest.skip("this user may not make cgroups here")
    assert {str(most_processes())} == {file.read_text().strip() for file in files}
    (own,) = (file for file in files if file.parent.name.endswith("-n1"))
    own.write_text("100")
    try:
        said = pair.ssh(1, "for number in $(seq 150); do sleep 20 & done; wait -n; kill $(jobs -p)").stderr
        assert "Resource temporarily unavailable" in said
        assert "fine" == pair.run(2, "echo fine")
    finally:
        own.write_text(str(most_processes()))


def test_a_process_in_a_node_does_not_pass_for_one_of_another_engine(pair: Nodes, tmp_path: Path) -> None:
    """Nobody can block or misuse the clean-up of an engine from within a node of another one."""
    pair.run(1, f"CM_ENGINE={tmp_path} sleep 30 > /dev/null 2>&1 < /dev/null &")

    assert [] == list(marked_processes(tmp_path))


def test_asyncssh_logs_in_over_a_socket_of_the_nodes_network(pair: Nodes) -> None:
    """The unconnected socket serves an event loop, with no process and no copy in between."""

    async def hostname() -> str:
        inner = dial.inner_socket(pair.folder / "engine")
        await asyncio.get_running_loop().sock_connect(inner, (address(1), 22))
        keys = [asyncssh.import_public_key(key) for key in parse_console_host_keys(pair.engine.console("n1"))]
        options = {"username": "cm", "client_keys": [str(pair.folder / "key")], "config": None}
        async with asyncssh.connect(sock=inner, known_hosts=(keys, [], []), **options) as connection:
            return str((await connection.run("hostname", check=True)).stdout).strip()

    assert "n1" == asyncio.run(hostname())


def test_running_tells_the_machines_process_ids(pair: Nodes) -> None:
    """`running` gives the process ids that this machine knows the nodes by."""
    running = pair.engine.running()

    assert {"n1", "n2"} == set(running)
    assert {Path(f"/proc/{pid}/comm").read_text().strip() for pid in running.values()} == {"sleep"}


def test_a_failing_first_boot_is_seen(alone: Nodes) -> None:
    """A script of user_data that fails shows in cloud-init's result and on the console; the node is there."""
    alone.boot([1], script="echo about to fail; exit 3")

    assert "scripts-user" in alone.run(1, "cat /run/cloud-init/result.json")
    assert "about to fail" in alone.engine.console("n1")
    assert "[WARNING]: Failed to run module scripts-user" in alone.engine.console("n1")


# --- and comes and goes ----------------------------------------------------------------------------------------


def test_a_stopped_node_keeps_its_disk(alone: Nodes) -> None:
    """After a stop of everything the node boots again: same disk and host key, no second first boot."""
    alone.boot([1], script=SCRIPT)
    key = alone.run(1, "cat /etc/ssh/ssh_host_ed25519_key.pub; touch ~/mine")
    alone.engine.close()
    assert {} == alone.engine.running()

    alone.engine.open()
    alone.engine.start(["n1"])
    alone.wait([1], boots=2)

    assert key == alone.run(1, "cat /etc/ssh/ssh_host_ed25519_key.pub; ls ~/mine >&2")
    assert "1" == alone.run(1, "wc -l < /var/tmp/first-boots")
    assert "2" == alone.run(1, "until [ $(wc -l < /var/tmp/boots) -ge 2 ]; do sleep 0.1; done; wc -l < /var/tmp/boots")


def test_a_node_that_is_made_again_is_reached_at_once(alone: Nodes) -> None:
    """The others do not go on sending to the hardware address of the former node."""
    alone.boot([1, 2])
    knock = f"timeout 3 bash -c '</dev/tcp/{address(2)}/22'"
    alone.run(1, knock)
    alone.engine.destroy(["n2"])
    alone.boot([2])

    alone.run(1, knock)


def test_nothing_is_left_of_destroyed_nodes(alone: Nodes) -> None:
    """Destroying removes process, disk, link and cgroup of that node only; cleaning up removes the rest."""
    alone.boot([1, 2, 3, 4])
    alone.engine.destroy(["n2", "n2", "never-there"])

    assert {"n1", "n3", "n4"} == set(alone.engine.running()) == set(alone.engine.known())
    assert [] == [left for left in alone.engine.leftovers() if "n2" in left.id]
    namespaces = {_namespace(pid) for pid in alone.engine.running().values()}
    mounts, links = Path("/proc/self/mounts").read_text(), os.listdir("/sys/class/net")
    assert 1 == len(namespaces)

    alone.engine.cleanup()

    assert [] == alone.engine.leftovers()
    left = [pid for pid in os.listdir("/proc") if pid.isdecimal() and _namespace(int(pid)) in namespaces]
    assert [] == [pid for pid in left if "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()]
    assert str(alone.folder) not in mounts
    assert [] == [link for link in links if link.startswith(("node", "br0", "tap0"))]
    assert [] == list((alone.folder / "engine").iterdir())
    alone.engine.cleanup()


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/user")  # noqa: PTH115
    except OSError:
        return ""


def test_no_node_outlives_its_holder(alone: Nodes) -> None:
    """When the holder is killed, the kernel ends every node and the way out; a cleanup finds nothing running."""
    alone.boot([1, 2])
    pids = [*alone.engine.running().values(), *marked_processes(alone.folder / "engine")]
    holder = min(pid for pid in pids if "sleep" not in Path(f"/proc/{pid}/comm").read_text() and _is_holder(pid))

    os.kill(holder, signal.SIGKILL)

    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [] == [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert {} == alone.engine.running()
    alone.engine.cleanup()
    assert [] == alone.engine.leftovers()


def _is_holder(pid: int) -> bool:
    return b"holder" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_what_a_killed_client_has_started_can_be_destroyed(alone: Nodes) -> None:
    """A client that is killed while its nodes start leaves none of them behind once they are destroyed."""
    alone.engine.open(GATEWAY)
    names = [f"n{index}" for index in range(1, 9)]
    client = multiprocessing.get_context("fork").Process(target=alone.boot, args=(range(1, 9),))
    client.start()
    while len(alone.engine.running()) < 2:
        time.sleep(0.01)
    client.kill()
    client.join()

    alone.engine.destroy(names)

    assert ({}, []) == (alone.engine.running(), alone.engine.known())
    time.sleep(0.5)
    assert {} == alone.engine.running()


def test_engines_do_not_see_each_other(alone: Nodes, pair: Nodes) -> None:
    """Two engines use the same addresses at once, and each reaches its own node by it."""
    alone.boot([1], script="touch /etc/alone")

    assert "" == alone.run(1, "ls /etc/alone > /dev/null")
    assert 0 != pair.ssh(1, "ls /etc/alone").returncode


def test_opening_at_once_makes_one_engine(alone: Nodes) -> None:
    """Processes that open an engine at the same time all succeed, with one holder between them."""
    context = multiprocessing.get_context("spawn")
    openers = [context.Process(target=_open, args=(alone.folder / "engine", alone.images)) for _ in range(4)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()

    assert [0] * 4 == [opener.exitcode for opener in openers]
    assert 1 == sum(_is_holder(pid) for pid in marked_processes(alone.folder / "engine"))


def _open(folder: Path, images_folder: Path) -> None:
    Engine(folder, images_folder).open(GATEWAY)


def test_a_node_that_can_not_start_does_not_hinder_the_others(alone: Nodes) -> None:
    """The error names the node; those beside it run."""
    good = alone.specify(1)
    bad = replace(alone.specify(2), layers=(alone.images / "no-such-layer" / "rootfs",))
    alone.engine.open(GATEWAY)

    with pytest.raises(EngineError, match="n2") as raised:
        alone.engine.start([good, bad])

    assert "n1" not in raised.value.message
    assert {"n1"} == set(alone.engine.running())


def test_a_stopped_engine_says_so(alone: Nodes) -> None:
    """Reaching for a node of an engine that isn't open is an error of the engine, not a hang."""
    with pytest.raises(EngineError, match="not running"):
        dial.inner_socket(alone.folder / "engine")
    with pytest.raises(EngineError, match="not running"):
        alone.engine.start([alone.specify(1)])


def test_this_machine_lacks_nothing_that_nodes_need() -> None:
    """Where nodes run, what is asked beforehand says so."""
    assert [] == [lack for lack in requirements() if lack.fatal]


def test_a_user_without_subordinate_ids_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user, the file and the command are named."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)

    lacks = [lack for lack in requirements() if lack.fatal]

    assert any("nobody has no 65536 subordinate user ids in /etc/subuid" in lack.what for lack in lacks)
    assert any("usermod --add-subuids" in lack.hint for lack in lacks)
