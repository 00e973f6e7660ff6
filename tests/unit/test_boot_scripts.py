"""The scripts of the first boot, run for real with an /etc of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import ProviderError, RemoteFailed
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.nodes import boot_steps as first_contact
from cloudmesh_cluster.nodes import keys
from cloudmesh_cluster.nodes.hosts import authorized_keys_block, hosts_block, known_hosts_block
from cloudmesh_cluster.operations.steps.bring_up import judge_first_boot
from tests.conftest import refuse

NODES = [
    Node("t-master", "master", 0, "running", "10.0.0.10"),
    Node("t-worker-1", "worker", 1, "running", "10.0.0.11"),
]
BLOCK = hosts_block("t", NODES)
IMAGE_HOSTS = "127.0.0.1 localhost\n127.0.1.1 t-worker-1.novalocal t-worker-1\n::1 localhost ip6-localhost\n"

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


class Machine:
    """A folder whose etc, run, home, usr/local and var/lib/cm a command sees as the real ones, as root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("etc/ssh", "root", "etc/alternatives", "run/cloud-init", "local/lib/cm", "lib/cm"):
            (root / folder).mkdir(parents=True)
        for user in ("cm", "other"):
            (root / "home" / user / ".ssh").mkdir(parents=True)
        self.write("etc/hosts", IMAGE_HOSTS)
        users = {"root": "/root", "cm": "/home/cm", "other": "/home/other"}
        self.write("etc/passwd", "".join(f"{user}:x:0:0::{home}:/bin/bash\n" for user, home in users.items()))
        self.write("etc/group", "root:x:0:\n")
        for name in ("blocks.sh", "receive-hosts"):
            self.write(f"local/lib/cm/{name}", resource("scripts", "boot", name).read_text())
        (root / "local/lib/cm/receive-hosts").chmod(0o755)

    def write(self, path: str, text: str) -> Path:
        """Write a file of the machine."""
        file = self.root / path
        file.write_text(text)
        return file

    def read(self, path: str) -> str:
        """Return the text of a file of the machine."""
        return (self.root / path).read_text()

    def run(self, *words: str, stdin: bytes | str = b"") -> subprocess.CompletedProcess[str]:
        """Run a command on the machine."""
        mounts = {"local": "/usr/local", "lib": "/var/lib"}
        mounts |= {name: f"/{name}" for name in ("etc", "root", "run", "home")}
        binds = 'mount --bind /etc/alternatives "$0/etc/alternatives"\n'
        binds += "".join(f'mount --rbind "$0/{ours}" {real}\n' for ours, real in mounts.items())
        return subprocess.run(
            [*UNSHARE, "bash", "-c", f'set -e\n{binds}exec "$@"', str(self.root), *words],
            input=stdin if isinstance(stdin, str) else stdin.decode(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def step(self, step: first_contact.RemoteStep) -> subprocess.CompletedProcess[str]:
        """Run a step of the first contact."""
        return self.run("bash", "-c", step.command, stdin=step.stdin)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine of our own, where user namespaces allow."""
    made = Machine(tmp_path)
    if (tried := made.run("true")).returncode:
        refuse(f"no user and mount namespace here: {tried.stderr.strip()}")
    yield made


def receive(machine: Machine, block: str, cluster: str = "t") -> subprocess.CompletedProcess[str]:
    """Run the forced command of the bootstrap key."""
    return machine.run("/usr/local/lib/cm/receive-hosts", cluster, stdin=block)


def test_receiver_replaces_the_block(machine: Machine) -> None:
    """The block takes the place of an older one, twice as well as once; no loopback address bears the node's name."""
    for _ in range(2):
        assert (receive(machine, BLOCK).stdout, machine.read("etc/hosts")) == (
            "ok\n",
            "127.0.0.1 localhost\n::1 localhost ip6-localhost\n" + BLOCK,
        )
    assert receive(machine, hosts_block("t", NODES[:1])).stdout == "ok\n"
    assert "worker-1" not in machine.read("etc/hosts")
    assert (machine.root / "etc/hosts").stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in (machine.root / "etc").iterdir() if entry.name.startswith("hosts")] == ["hosts"]


def test_receiver_keeps_the_lines_of_others(machine: Machine) -> None:
    """Another cluster's block, comments and a lost marker stay."""
    others = "# BEGIN cm t2\n10.1.0.1 t2-master master\n# END cm t2\n# BEGIN cm t\n192.0.2.1 printer # BEGIN cm t\n"
    machine.write("etc/hosts", others)

    assert receive(machine, BLOCK).stdout == "ok\n"
    assert machine.read("etc/hosts") == others + BLOCK


@pytest.mark.parametrize(
    "line",
    [
        "10.0.0.1 t-master master evil",
        "10.0.0.1 t-master",
        "10.0.0.1 t-master worker-1",
        "10.0.0.1 www.example.org www",
        "10.0.0.1 other-master master",
        "10.0.0.256 t-master master",
        "127.0.0.1 t-master master",
        "0.0.0.0 t-master master",
        "239.0.0.1 t-master master",
        "10.0.0.1  t-master master",
        "10.0.0.1 t-worker-0 worker-0",
        "10.0.0.1 t-worker-1 worker-1\n10.0.0.2 t-worker-1 worker-1",
        "$(touch /etc/evil) t-master master",
        "# END cm t\n6.6.6.6 www.example.org",
        "",
    ],
)
def test_receiver_refuses_what_is_no_node(machine: Machine, line: str) -> None:
    """A block with anything else than nodes of this cluster changes nothing."""
    result = receive(machine, BLOCK.replace("# END", line + "\n# END"))

    assert result.returncode == 1
    assert result.stderr.startswith("receive-hosts: ")
    assert machine.read("etc/hosts") == IMAGE_HOSTS
    assert not (machine.root / "etc/evil").exists()


@pytest.mark.parametrize(
    "block",
    [
        "",
        BLOCK[: len(BLOCK) // 2],
        BLOCK.replace("# END cm t\n", ""),
        BLOCK.replace("cm t", "cm u"),
        "# BEGIN cm t\n" + "10.0.0.1 t-master master\n" * 50_000 + "# END cm t\n",
        BLOCK.replace("master\n", "master\0\n"),
    ],
    ids=["empty", "cut", "no-end", "other-cluster", "too-large", "nul"],
)
def test_receiver_refuses_half_a_block(machine: Machine, block: str) -> None:
    """A block that was cut off, is another cluster's or too large changes nothing."""
    assert receive(machine, block).returncode == 1
    assert machine.read("etc/hosts") == IMAGE_HOSTS


def test_greeting(machine: Machine) -> None:
    """A node waits for cloud-init, writes its hosts, makes a key once and tells about itself."""
    machine.write("run/cloud-init/result.json", '{"v1": {"datasource": "x", "errors": []}}')
    machine.write("run/cloud-init/status.json", '{"v1": {"init": {"recoverable_errors": {"WARNING": ["old"]}}}}')
    step = first_contact.greet(cluster="t", user="cm", node=NODES[1], nodes=NODES, timeout=5)

    result = machine.step(step)
    greeting = first_contact.parse_greeting(result.stdout)

    assert result.stderr == ""
    assert greeting.hostname == os.uname().nodename
    assert abs(greeting.time - time.time()) < 60
    assert (greeting.cloud_init, greeting.cloud_init_errors) == ("degraded", ("WARNING: old",))
    assert machine.read("home/cm/.ssh/id_ed25519.pub").startswith(greeting.public_key + " t-worker-1")
    assert (machine.root / "home/cm/.ssh/id_ed25519").stat().st_mode & 0o777 == 0o600
    assert machine.read("etc/hosts").endswith(BLOCK)
    assert first_contact.parse_greeting(machine.step(step).stdout).public_key == greeting.public_key


def test_two_greetings_at_a_time_make_one_key(machine: Machine) -> None:
    """What a killed client has left waiting on a node does not get into the way of the client after it."""
    step = first_contact.greet(cluster="t", user="cm", node=NODES[1], nodes=NODES, timeout=20)
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(machine.step, step) for _ in range(8)]
        time.sleep(1)
        machine.write("run/cloud-init/result.json", '{"v1": {"datasource": "x", "errors": []}}')
        answers = [each.result() for each in running]

    assert {""} == {answer.stderr for answer in answers}
    assert 1 == len({first_contact.parse_greeting(answer.stdout).public_key for answer in answers})


def test_what_writes_at_a_time_loses_nothing(machine: Machine) -> None:
    """The last node and the client may tell a node names at the same instant: all blocks are there in the end."""
    greeting = first_contact.greet(cluster="t", user="cm", node=NODES[1], nodes=NODES, timeout=0)
    other = hosts_block("u", [Node("u-master", "master", 0, "running", "10.0.0.20")])
    machine.write("root/greeting", greeting.stdin.decode())
    machine.write("root/other", other)
    (machine.root / "local/bin").mkdir()
    machine.write("local/bin/cp", '#!/bin/sh\nsleep 0.1\nexec /bin/cp "$@"\n').chmod(0o755)
    both = f"/usr/local/lib/cm/receive-hosts u <~/other & {greeting.command} <~/greeting & wait -n && wait -n\n"

    told = machine.run("bash", "-e", "-o", "pipefail", "-c", both * 3)

    assert (told.returncode, told.stderr) == (0, "")
    assert [1, 1] == [machine.read("etc/hosts").count(block) for block in (BLOCK, other)]


def test_greeting_waits_for_cloud_init(machine: Machine) -> None:
    """While cloud-init runs there is no greeting; past the timeout the node says that it is still running."""
    started = time.monotonic()

    result = machine.step(first_contact.greet(cluster="t", user="cm", node=NODES[1], nodes=NODES, timeout=2))

    assert first_contact.parse_greeting(result.stdout).cloud_init == "running"
    assert 1 < time.monotonic() - started < 5


def test_greeting_tells_what_failed(machine: Machine) -> None:
    """An error of cloud-init comes through as it stands in its own report."""
    machine.write("run/cloud-init/result.json", json.dumps({"v1": {"errors": ["('scripts', RuntimeError(\"x\"))"]}}))

    result = machine.step(first_contact.greet(cluster="t", user="cm", node=NODES[1], nodes=NODES, timeout=2))
    greeting = first_contact.parse_greeting(result.stdout)

    assert (greeting.cloud_init, greeting.cloud_init_errors) == ("error", ("('scripts', RuntimeError(\"x\"))",))


@pytest.mark.parametrize(
    ("ended", "said"), [("running", "t-worker-1 did not end within"), ("error", "failed on t-worker-1: bad disk")]
)
def test_a_first_boot_that_did_not_end_well_is_refused(ended: first_contact.CloudInit, said: str) -> None:
    """A node whose cloud-init failed, or had not ended in time, is no member; one with recoverable errors is."""
    result = CommandResult("t-worker-1", 0, "", "", 0.1)

    with pytest.raises(RemoteFailed, match=said):
        judge_first_boot(NODES[1], first_contact.Greeting("t-worker-1", "", 0.0, ended, ("bad disk",)), result)
    for good in ("done", "degraded", "absent"):
        judge_first_boot(NODES[1], first_contact.Greeting("t-worker-1", "", 0.0, good, ()), result)


def wiring(*, remove: bool = True, nodes: list[Node] = NODES) -> first_contact.RemoteStep:
    """Return the step that wires `nodes`."""
    public = {node.name: f"ssh-ed25519 AAAA{node.index}" for node in NODES}
    return first_contact.wire(
        cluster="t",
        user="cm",
        hosts=hosts_block("t", nodes),
        known_hosts=known_hosts_block("t", nodes, {name: [key] for name, key in public.items()}),
        authorized_keys=authorized_keys_block("t", nodes, public, "all"),
        remove_bootstrap=remove,
    )


def give_bootstrap_keys(machine: Machine) -> keys.KeyPair:
    """Put a bootstrap key where the first boot puts it, and a key that is none beside it."""
    pair = keys.generate(keys.bootstrap_comment("op-1"))
    line = f'restrict,from="10.0.0.0/24",command="sudo -n x" {pair.public}\n'
    for user in ("cm", "other"):
        machine.write(f"home/{user}/.ssh/authorized_keys", f"ssh-ed25519 AAAAlogin me\n{line}").chmod(0o600)
    (machine.root / "lib/cm/bootstrap").mkdir(mode=0o700)
    machine.write("lib/cm/bootstrap/id_ed25519", pair.private.decode()).chmod(0o600)
    return pair


def test_wiring_replaces_three_blocks(machine: Machine) -> None:
    """The blocks stand in all three files, once; a node that is gone is gone from all."""
    machine.write("home/cm/.ssh/authorized_keys", "ssh-ed25519 AAAAlogin me")

    for _ in range(2):
        result = machine.step(wiring())
        assert (result.stdout, result.stderr) == ("ok\n", "")
        assert machine.read("home/cm/.ssh/authorized_keys").splitlines()[0] == "ssh-ed25519 AAAAlogin me"
        for file in ("etc/hosts", "etc/ssh/ssh_known_hosts", "home/cm/.ssh/authorized_keys"):
            assert machine.read(file).count("# BEGIN cm t\n") == 1
            assert "worker-1" in machine.read(file)
    machine.step(wiring(nodes=NODES[:1]))
    for file in ("etc/hosts", "etc/ssh/ssh_known_hosts", "home/cm/.ssh/authorized_keys"):
        assert "worker-1" not in machine.read(file)


def test_wiring_removes_bootstrap_keys_when_told(machine: Machine) -> None:
    """Kept until the propagation's result is read; then gone from the login user's file and from the last node.

    Nobody else's file is touched: a first boot puts the key there only, and the check for dead keys searches all.
    """
    pair = give_bootstrap_keys(machine)
    others = machine.read("home/other/.ssh/authorized_keys")
    files = ["/home/cm/.ssh/authorized_keys", "/home/other/.ssh/authorized_keys"]
    search = first_contact.find_keys([keys.blob(pair.public)])

    assert machine.step(wiring(remove=False)).stdout == "ok\n"
    assert machine.step(search).stdout.split() == [*files, "/var/lib/cm/bootstrap/id_ed25519"]
    assert machine.step(wiring()).stdout == "ok\n"
    assert machine.step(search).stdout.split() == files[1:]
    assert machine.read("home/other/.ssh/authorized_keys") == others
    assert machine.read("home/cm/.ssh/authorized_keys").startswith("ssh-ed25519 AAAAlogin me\n# BEGIN")


@pytest.mark.parametrize("file", ["home/cm/.ssh/authorized_keys", "etc/hosts", "etc/ssh/ssh_known_hosts"])
@pytest.mark.parametrize("kind", ["link", "hard link", "attributes", "new behind a link"])
def test_wiring_leaves_files_what_they_are(machine: Machine, file: str, kind: str) -> None:
    """A file that is a link, has a second name, or attributes and a mode of its own, is so after it was written to."""
    path, other = machine.root / file, (machine.root / file).with_name("kept")
    path.unlink(missing_ok=True)
    (other if "link" in kind else path).write_text("# first\n")
    if kind == "hard link":
        path.hardlink_to(other)
    elif "link" in kind:
        path.symlink_to(other.name)
    else:
        os.setxattr(path, "user.cm-test", b"kept")
        path.chmod(0o604)
    if kind == "new behind a link":
        other.unlink()

    for _ in range(2):
        result = machine.step(wiring())
        assert (result.stdout, result.stderr) == ("ok\n", "")

    assert path.is_symlink() == (kind in ("link", "new behind a link"))
    if "link" in kind:
        assert path.samefile(other)
    else:
        assert (os.getxattr(path, "user.cm-test"), path.stat().st_mode & 0o777) == (b"kept", 0o604)
    assert path.read_text().startswith("" if "new" in kind else "# first\n")
    assert path.read_text().count("# BEGIN cm t\n") == 1
    assert [] == list(path.parent.glob("*.cm.*"))


def test_wiring_does_not_follow_a_link_to_where_others_may_write(machine: Machine) -> None:
    """When /etc/hosts leads into a folder that is not root's alone, it is refused, and what is there stays."""
    machine.write("home/other/hosts", IMAGE_HOSTS)
    (machine.root / "home/other").chmod(0o777)
    (machine.root / "etc/hosts").unlink()
    (machine.root / "etc/hosts").symlink_to("/home/other/hosts")

    result = machine.step(wiring())

    assert result.returncode == 1
    assert result.stderr == "/etc/hosts leads to /home/other/hosts, which others than root may replace\n"
    assert machine.read("home/other/hosts") == IMAGE_HOSTS


@pytest.mark.parametrize(
    "written", ["[]", "null", '"ключ"', '"ssh-ed25519"', '"ssh-ed25519 AAAA\\nmore"', '"ssh-ed25519 Ключ"']
)
def test_a_public_key_that_is_none_is_refused(written: str) -> None:
    """A node that gives something else for its public key is named; the others are not harmed by what it says."""
    answer = f'{{"hostname": "h", "time": 1.0, "public_key": {written}, "cloud_init": "absent"}}'

    with pytest.raises(ProviderError, match="t-worker-1"):
        first_contact.parse_greeting(answer, node="t-worker-1")


def test_greeting_has_no_control_characters(machine: Machine) -> None:
    """Quotes, backslashes and control characters in os-release do not break the greeting."""
    machine.write("etc/os-release", 'PRETTY_NAME="A \\ \x1b[31mB\tC"\n')

    result = machine.step(first_contact.greet(cluster="t", user="cm", node=NODES[1], nodes=NODES, timeout=0))

    assert first_contact.parse_greeting(result.stdout).system.startswith("A  [31mBC, Linux ")


def test_keys_are_found_by_fingerprint_and_behind_links(machine: Machine) -> None:
    """A key is found by its fingerprint too, behind options, and in a file that is a link."""
    pair = give_bootstrap_keys(machine)
    (machine.root / "home/cm/.ssh/authorized_keys2").symlink_to("/home/other/.ssh/authorized_keys")

    result = machine.step(first_contact.find_keys([keys.fingerprint(pair.public)]))

    assert result.stdout.split() == [
        "/home/cm/.ssh/authorized_keys",
        "/home/cm/.ssh/authorized_keys2",
        "/home/other/.ssh/authorized_keys",
        "/var/lib/cm/bootstrap/id_ed25519",
    ]
    assert machine.step(first_contact.find_keys([keys.blob(keys.generate("x").public)])).stdout == ""


def test_a_key_is_found_by_fingerprint_among_many(machine: Machine) -> None:
    """Neither the keys after it nor a line that is none keep it from being found."""
    sought, other = keys.generate("sought").public, keys.generate("other").public
    lines = [sought, *[other] * 3000, "ssh-ed25519 AAAAnokey me"]
    (machine.root / "home/cm/.ssh/authorized_keys").write_text("\n".join(lines) + "\n")

    assert machine.step(first_contact.find_keys([keys.fingerprint(sought)])).stdout == "/home/cm/.ssh/authorized_keys\n"


@pytest.mark.parametrize("part", ["greet", "wire"])
def test_cut_off_input_writes_nothing(machine: Machine, part: str) -> None:
    """A payload that did not arrive as a whole changes nothing."""
    step = (
        wiring()
        if part == "wire"
        else first_contact.greet(cluster="t", user="cm", node=NODES[1], nodes=NODES, timeout=1)
    )
    cut = first_contact.RemoteStep(step.command, step.stdin[: -len("END cm t\n== end\n")])

    result = machine.step(cut)

    assert (result.returncode, result.stdout, result.stderr) == (1, "", "the input was cut off\n")
    assert machine.read("etc/hosts") == IMAGE_HOSTS


def propagate(machine: Machine, nodes: list[Node], seconds: int) -> first_contact.PropagationReport:
    """Run the propagation on t-worker-1 and read its result as the client does."""
    (machine.root / "lib/cm/bootstrap").mkdir(mode=0o700)
    machine.write("lib/cm/bootstrap/hosts", hosts_block("t", nodes))
    script = resource("scripts", "boot", "propagate-hosts").read_text()
    run = machine.run("bash", "-c", script, "propagate-hosts", "t", "op-1", "cm", "t-worker-1", str(seconds))
    assert run.stderr == ""
    return first_contact.parse_propagation(machine.step(first_contact.propagation_result("op-1", 5)).stdout)


def test_propagation_to_oneself(machine: Machine) -> None:
    """The last node writes its own hosts file too, and says ok."""
    report = propagate(machine, NODES[1:], 5)

    assert report == first_contact.PropagationReport("op-1", "ok", {"t-worker-1": "ok"})
    assert machine.read("etc/hosts").endswith(hosts_block("t", NODES[1:]))


def test_dead_peer_is_reported(machine: Machine) -> None:
    """A peer that never answers is reported with the reason, and holds up nobody else."""
    dead = Node("t-master", "master", 0, "running", "127.0.0.2")
    report = propagate(machine, [dead, NODES[1]], 2)

    assert report.state == "failed"
    # The receiver refuses the loopback address, so that not even the node's own file is written.
    assert report.peers["t-master"].startswith("127.0.0.2 port 22: no answer")
    assert "no address of a node" in report.peers["t-worker-1"]


def test_result_of_another_operation_is_none(machine: Machine) -> None:
    """An older operation's report isn't taken for this one's; waiting for it ends."""
    machine.write("lib/cm/propagation.json", '{"operation": "op-0", "state": "ok", "peers": {}}\n')

    answer = machine.step(first_contact.propagation_result("op-1", 1))

    assert first_contact.parse_propagation(answer.stdout).state == "timed out"


def test_session_is_ended_with_its_children(tmp_path: Path) -> None:
    """TERM, then KILL reach a whole session and its children; what detached itself stays."""
    pids = tmp_path / "pids"
    detached = f"setsid -f bash -c 'echo $$ >>{pids}; exec sleep 300'"
    script = f"trap '' TERM; setsid sleep 300 & echo $! >{pids}; {detached}; sleep 60; sleep 60"
    child = subprocess.Popen(["bash", "-c", script], start_new_session=True)
    while not pids.exists() or len(pids.read_text().split()) < 2:
        time.sleep(0.05)
    own, other = pids.read_text().split()

    try:
        subprocess.run(["bash", resource("scripts", "boot", "end-session"), str(child.pid)], check=True, timeout=60)

        assert child.wait(timeout=30) == -signal.SIGKILL
        assert [_command_of(own), _command_of(other)] == ["", "sleep\0" + "300\0"]
    finally:
        os.kill(int(other), signal.SIGKILL)


def _command_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_machine_belongs_to_one_cluster_whatever_its_name(machine: Machine) -> None:
    """A machine of a cluster is neither taken nor given back by another one of the same name."""
    ours, others = Marks("t", "1" * 16), (Marks("t", "2" * 16), Marks("t"))
    taking = {
        marks: first_contact.take_machine(cluster=marks, user="cm", node=NODES[0], login_public_key="ssh-ed25519 AAAA")
        for marks in (ours, *others)
    }
    assert machine.step(taking[ours]).stdout == "taken\n"
    for other in others:
        assert "this machine belongs to another cluster" in machine.step(taking[other]).stderr
        assert machine.step(first_contact.give_back(other)).returncode == 0
        assert "ssh-ed25519 AAAA" in machine.read("home/cm/.ssh/authorized_keys")

    assert machine.step(first_contact.give_back(ours)).stdout == ""
    assert not (machine.root / "home/cm/.ssh/authorized_keys").exists()
    assert not (machine.root / "lib/cm").exists()
