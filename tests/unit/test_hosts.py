"""The marked blocks by which nodes know each other."""

from __future__ import annotations

import pytest

from cloudmesh_cluster.core.model import Mesh, Node
from cloudmesh_cluster.nodes import hosts

MASTER = Node("t-master", "master", 0, "running", "10.0.0.10")
WORKER = Node("t-worker-1", "worker", 1, "running", "10.0.0.11")
NODES = [MASTER, WORKER]
KEYS = {"t-master": "ssh-ed25519 AAAAmaster comment", "t-worker-1": "ssh-ed25519 AAAAworker"}
HOST_KEYS = {"t-master": ["ssh-ed25519 AAAAhost1 root@x"], "t-worker-1": ["ssh-ed25519 AAAAhost2"]}

BLOCK = """\
# BEGIN cm t
10.0.0.10 t-master master
10.0.0.11 t-worker-1 worker-1
# END cm t
"""


def test_hosts_block_names_every_node_twice() -> None:
    """Every node stands there with its address, its full and its short name."""
    assert hosts.hosts_block("t", NODES) == BLOCK


def test_known_hosts_by_name_and_address() -> None:
    """A node's key is known under full name, short name and address; comments are dropped."""
    assert hosts.known_hosts_block("t", NODES, HOST_KEYS) == (
        "# BEGIN cm t\n"
        "t-master,master,10.0.0.10 ssh-ed25519 AAAAhost1\n"
        "t-worker-1,worker-1,10.0.0.11 ssh-ed25519 AAAAhost2\n"
        "# END cm t\n"
    )


def test_client_knows_nodes_by_alias() -> None:
    """The client's known hosts are keyed by alias, since addresses are reused."""
    assert hosts.client_known_hosts(NODES, HOST_KEYS) == (
        "cm-t-master ssh-ed25519 AAAAhost1\ncm-t-worker-1 ssh-ed25519 AAAAhost2\n"
    )


@pytest.mark.parametrize(
    ("mesh", "accepted"),
    [("all", ["t-master", "t-worker-1"]), ("master-to-workers", ["t-master"]), ("none", [])],
)
def test_mesh_says_whose_key_is_accepted(mesh: Mesh, accepted: list[str]) -> None:
    """Each accepted key is bound to its own node's address and forwards nothing."""
    lines = hosts.authorized_keys_block("t", NODES, KEYS, mesh).splitlines()[1:-1]

    assert [line.split()[-1] for line in lines] == accepted
    for line, node in zip(lines, NODES, strict=False):
        assert line.startswith(f'from="{node.private_ip}",no-agent-forwarding,no-port-forwarding,no-X11-forwarding ')


def test_node_without_a_key_is_not_let_in() -> None:
    """A node whose key is not known yet gets no line."""
    assert "worker-1" not in hosts.authorized_keys_block("t", NODES, {"t-master": KEYS["t-master"]}, "all")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1 localhost\n",
        "127.0.0.1 localhost",
        "a\n# BEGIN cm t\nold\n# END cm t\nb\n",
        "# BEGIN cm other\nx\n# END cm other\n",
        "# BEGIN cm t2\nx\n# END cm t2\n",
    ],
)
def test_replacing_again_changes_nothing(text: str) -> None:
    """Replacing is idempotent, leaves one block of the cluster and everything else as it was."""
    once = hosts.replace_block(text, "t", BLOCK)

    assert hosts.replace_block(once, "t", BLOCK) == once
    assert once.count(BLOCK) == 1
    assert "old" not in once
    foreign = [line for line in text.splitlines() if line not in ("# BEGIN cm t", "old", "# END cm t")]
    assert [line for line in once.splitlines() if line not in BLOCK.splitlines()] == foreign


def test_empty_block_removes() -> None:
    """An empty block takes the cluster's lines away and nothing else."""
    assert hosts.replace_block(f"a\n{BLOCK}b\n", "t", "") == "a\nb\n"


def test_lost_marker_costs_nothing_else() -> None:
    """A marker without its counterpart doesn't swallow the lines of others."""
    assert hosts.replace_block("# BEGIN cm t\nmine\n", "t", "") == "# BEGIN cm t\nmine\n"
    assert hosts.replace_block(f"# BEGIN cm t\nmine\n{BLOCK}", "t", "") == "# BEGIN cm t\nmine\n"


CONSOLE = """\
[   9.1] cloud-init[312]: ci-info: no authorized keys
<14>Nov 20 22:00:00 cloud-init: -----BEGIN SSH HOST KEY KEYS-----\r
<14>Nov 20 22:00:00 cloud-init: ecdsa-sha2-nistp256 AAAAE2Vj+/= root@t-master\r
[   9.2] random: crng init done
<14>Nov 20 22:00:00 cloud-init: ssh-ed25519 AAAAC3Nz+/Key root@t-master\r
<14>Nov 20 22:00:00 cloud-init: -----END SSH HOST KEY KEYS-----\r
t-master login:
"""


def test_host_keys_from_a_console() -> None:
    """Keys are found behind syslog prefixes and carriage returns, Ed25519 first."""
    assert hosts.parse_console_host_keys(CONSOLE) == ["ssh-ed25519 AAAAC3Nz+/Key", "ecdsa-sha2-nistp256 AAAAE2Vj+/="]


def test_last_boot_counts() -> None:
    """After a rebuild the keys of the last boot count."""
    again = CONSOLE.replace("AAAAC3Nz+/Key", "AAAAC3NzNew")

    assert hosts.parse_console_host_keys(CONSOLE + again)[0] == "ssh-ed25519 AAAAC3NzNew"


def test_half_a_console_gives_no_keys() -> None:
    """A console that ends within the block gives nothing, rather than a part."""
    assert hosts.parse_console_host_keys(CONSOLE[: CONSOLE.index("-----END")]) == []
    assert hosts.parse_console_host_keys("") == []
