"""The keys of a cluster: private halves are where they belong and nowhere else, and the bootstrap key opens nothing."""

from __future__ import annotations

import base64
import email
import json
import os
import shlex
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.nodes import keys
from tests.support.command_line import Answer, CommandLine
from tests.support.secrets import Watch, files_that_hold, holds, spellings, wait_until, watching

NODES = ("t-master", "t-worker-1", "t-worker-2")
PLANTED = b"planted-for-the-watch-to-see"
# What cloud-init keeps of user_data, for root alone; the config drive; the engine's copy of it.
USER_DATA = ("/var/lib/cloud/instances/", "/var/lib/cloud/seed/config_drive/")


@dataclass
class Made:
    """A cluster that was watched while it was made and changed."""

    cm: CommandLine
    watch: Watch
    said: list[Answer]
    began: int

    @property
    def folder(self) -> Path:
        """The cluster's folder on the client."""
        return self.cm.home / "clusters" / "t"

    @property
    def login(self) -> bytes:
        """The private login key."""
        return (self.folder / "id_ed25519").read_bytes()

    def bootstrap(self) -> list[bytes]:
        """Return the private bootstrap keys of all operations, the oldest first."""
        return [content for name, content in sorted(self.watch.files.items()) if name.startswith("bootstrap-")]

    def on_node(self, node: str, *words: str, stdin: str = "", expect: int | None = 0) -> str:
        """Run a command on a node by the system's ssh; return what it prints."""
        return self.cm("cluster", "ssh", "t", "-t", node, "--", *words, stdin=stdin, expect=expect).stdout

    def script(self, node: str, name: str, *words: str, stdin: str = "", sudo: bool = False) -> str:
        """Run a script of `scripts/boot` on a node."""
        parts = ["rights.sh", name] if name == "bootstrap-keys" else [name]
        text = "".join(resource("scripts", "boot", part).read_text() for part in parts)
        return self.on_node(node, *(["sudo"] if sudo else []), "bash", "-c", text, name, *words, stdin=stdin).strip()


@pytest.fixture(scope="module")
def made(shared_cm: CommandLine) -> Iterator[Made]:
    """Return a cluster `t` of two workers, one of which came by `scale`, watched while all that happened."""
    folder, began = Home(shared_cm.home, shared_cm.cache).cluster("t"), int(time.time())
    with watching(folder, "bootstrap-*") as watch:
        planted = subprocess.Popen(["sh", "-c", "sleep 30", PLANTED])
        said = [
            shared_cm("cluster", "create", "t", "-n", "1", "--debug", timeout=600),
            shared_cm("cluster", "scale", "t", "+1", "--debug", timeout=600),
            shared_cm("cluster", "write", "t", "worker", "--debug", "--", "false", expect=1),
            shared_cm("cluster", "verify", "t", "--debug"),
        ]
        assert wait_until(lambda: any(PLANTED in each for each in watch.started_with))
        planted.kill()
        planted.wait()
    yield Made(shared_cm, watch, said, began)


@pytest.fixture(scope="module")
def bootstrap(made: Made) -> bytes:
    """Return the bootstrap key as whoever reads the last node's user data gets it: the one of the newest operation."""
    user_data = made.on_node("t-worker-2", "sudo", "cat", "/var/lib/cloud/instance/user-data.txt")
    parts = [part.get_payload() for part in email.message_from_string(user_data).walk() if not part.is_multipart()]
    config = next(yaml.safe_load(str(part)) for part in parts if str(part).startswith("#cloud-config"))
    (file,) = (each for each in config["write_files"] if each["path"].endswith("/id_ed25519"))
    return base64.b64decode(file["content"])


def test_each_operation_has_a_bootstrap_key_of_its_own(made: Made, bootstrap: bytes) -> None:
    """What `create` and `scale` boot nodes with are different keys; user data holds the newest one."""
    assert 2 == len(set(made.bootstrap()))
    assert keys.public_of(bootstrap) == keys.public_of(made.bootstrap()[-1])
    assert keys.public_of(made.login) not in {keys.public_of(private) for private in made.bootstrap()}


def test_no_private_key_in_what_processes_are_started_with(made: Made) -> None:
    """No process of this machine, nodes included, ever had a private key in its arguments or environment."""
    seen = made.watch.started_with
    needles = [needle for private in (made.login, *made.bootstrap()) for needle in spellings(private)]

    assert any(b"sshd" in each for each in seen)
    assert any(b"propagate-hosts" in each for each in seen), "the nodes' processes were seen, too"
    assert [] == [each for each in seen if holds(each, needles)]


def test_no_private_key_in_what_cm_says_and_writes(made: Made) -> None:
    """Neither --debug output nor logs, journal, events or any file but its own holds anything of the login key."""
    needles = spellings(made.login)
    said = [answer.stdout + answer.stderr for answer in made.said]
    said.append(made.cm("cluster", "events", "t", "-f", "json").stdout)
    said.append(made.cm("cluster", "show", "t", "--debug", "-f", "json").stdout)

    assert holds(json.dumps(made.login.decode()).encode(), needles), "the probe does find keys"
    assert not any(holds(text.encode(), needles) for text in said)
    assert ["clusters/t/id_ed25519"] == files_that_hold(made.cm.home, needles)


def test_bootstrap_keys_are_gone_from_the_client(made: Made) -> None:
    """After the operation nothing of its bootstrap key is in the home, but in the node's own disk and config drive."""
    for private in made.bootstrap():
        needles = spellings(private)
        said = [answer.stdout + answer.stderr for answer in made.said]
        found = [path for path in files_that_hold(made.cm.home, needles) if "/engine/nodes/" not in path]

        assert [] == found
        assert not any(holds(text.encode(), needles) for text in said)
    assert [] == list(made.folder.glob("*bootstrap*"))


def test_bootstrap_keys_are_nowhere_on_the_nodes_but_in_user_data(made: Made) -> None:
    """On the nodes, only root can find it, only on the node that was booted last, and only in its user data."""
    for private, last in zip(made.bootstrap(), ("t-worker-1", "t-worker-2"), strict=True):
        found = {node: search(made, node, private) for node in NODES}

        assert found[last], "the search does find it where it is"
        assert all(path.startswith(USER_DATA) for path in found[last]), found[last]
        assert {} == {node: paths for node, paths in found.items() if node != last and paths}
        readable = made.on_node(last, "sudo", "find", *found[last], "-perm", "/077")
        assert "" == readable, "nobody but root can read it"


def search(made: Made, node: str, private: bytes) -> list[str]:
    """Return the files of a node, of those written since it was made, that hold something of a private key."""
    lines = [line for line in private.split(b"\n") if line and b"OPENSSH" not in line]
    patterns = b"\n".join([*spellings(private)[1:], *lines[2:-1]]).decode()
    file = "/dev/shm/patterns"
    line = (
        f"umask 077; cat >{file}; find / /run /dev/shm {USER_DATA[1]} -xdev -type f -newerct @{made.began}"
        f" -not -path {file} -print0 | xargs -0 grep -laF -f {file}; rm {file}"
    )
    return sorted(set(made.on_node(node, "sudo", "bash", "-c", line, stdin=patterns).split()))


def test_the_login_key_is_on_no_node(made: Made) -> None:
    """The private half of the login key never leaves the client."""
    for node in NODES:
        assert [] == search(made, node, made.login)


def test_node_keys_stay_on_their_nodes(made: Made) -> None:
    """What a node made for itself is on that node only; the client knows the public halves."""
    for node in NODES:
        private = made.on_node(node, "cat", ".ssh/id_ed25519").encode()
        found = files_that_hold(made.cm.home, spellings(private))

        assert ["/home/cm/.ssh/id_ed25519"] == search(made, node, private)
        assert [] == [path for path in found if not path.startswith(f"clusters/t/engine/nodes/{node}/")]
        assert [] == [other for other in NODES if other != node and search(made, other, private)]


def test_files_are_for_their_owner_only(made: Made) -> None:
    """In the home, folders are 0700 and files 0600; the engine's folder, with the nodes' disks, is closed as one."""
    opened = []
    for path in [made.cm.home, *made.cm.home.rglob("*")]:
        inside_engine = "engine" in path.relative_to(made.cm.home).parts[2:-1]
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not inside_engine and mode & 0o177 & ~(0o100 if path.is_dir() else 0):
            opened.append(f"{path} {mode:o}")

    assert [] == opened
    assert (made.folder / "engine").is_dir()


def test_the_bootstrap_key_opens_nothing(made: Made, bootstrap: bytes) -> None:
    """With that key alone no node lets another one in, and no file that opens accounts knows its fingerprint.

    The control: with its line put back, as cloud-init had written it, the same probes find the receiver (not a shell)
    and the file, and `verify` names the node.
    """
    fingerprint = keys.fingerprint(keys.public_of(bootstrap))
    nodes = json.loads(made.cm("cluster", "nodes", "t", "-f", "json").stdout)
    addresses = {node["name"]: node["private_ip"] for node in nodes}
    for prober, target in zip(NODES, (*NODES[1:], NODES[0]), strict=True):
        assert knock(made, prober, addresses[target], bootstrap).endswith("Permission denied (publickey).")
    for node in NODES:
        assert "" == made.script(node, "bootstrap-keys", fingerprint, sudo=True)

    with accepted_again(made, bootstrap):
        said = knock(made, "t-worker-1", addresses["t-master"], bootstrap)
        assert said.startswith("receive-hosts: "), "the receiver answers, and refuses an empty block"
        assert "/home/cm/.ssh/authorized_keys" == made.script("t-master", "bootstrap-keys", fingerprint, sudo=True)
        verified = made.cm("cluster", "verify", "t", "-f", "json", expect=3)
        failed = [check for check in json.loads(verified.stdout) if not check["ok"]]
        assert [("bootstrap key dead", "t-master")] == [(check["check"], check["node"]) for check in failed]
    made.cm("cluster", "verify", "t")


def knock(made: Made, node: str, address: str, private: bytes) -> str:
    """Try, on a node, to log in at an address with nothing but a private key; return what is answered."""
    return made.script(node, "try-key", "cm", address, stdin=private.decode())


class accepted_again:  # noqa: N801  (reads as a sentence after `with`)
    """The master accepts the bootstrap key while the block runs, with the restrictions that cloud-init gave it."""

    def __init__(self, made: Made, private: bytes) -> None:
        receiver = "sudo -n /usr/local/lib/cm/receive-hosts t"
        public = keys.public_of(private, keys.bootstrap_comment("again"))
        self._made = made
        self._line = f'restrict,from="10.88.0.0/16",command="{receiver}" {public}'

    def __enter__(self) -> None:
        self._made.on_node("t-master", f"printf '%s\\n' {shlex.quote(self._line)} >>.ssh/authorized_keys")

    def __exit__(self, *_: object) -> None:
        self._made.on_node("t-master", "sed -i '/ cm-bootstrap again$/d' .ssh/authorized_keys")


def test_the_user_data_of_other_nodes_holds_no_private_key(made: Made) -> None:
    """Only the last node of an operation gets a private key at all."""
    text = made.on_node("t-master", "sudo", "cat", "/var/lib/cloud/instance/user-data.txt")

    assert "cm-bootstrap" in text, "the public half is there"
    assert not any(holds(text.encode(), spellings(private)) for private in (made.login, *made.bootstrap()))


def test_a_login_key_that_others_can_read_is_not_used(made: Made) -> None:
    """As OpenSSH does, `cm` refuses a private key that others may read, and says how to mend that."""
    key = made.folder / "id_ed25519"
    key.chmod(0o644)
    try:
        refused = made.cm("cluster", "cmd", "t", "hostname", expect=2)
    finally:
        key.chmod(0o600)

    assert f"chmod 600 {key}" in refused.stderr
    assert os.fsdecode(key) in refused.stderr
