"""What nodes are told at their first boot."""

from __future__ import annotations

import base64
import email
import gzip
import os
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.nodes.hosts import hosts_block
from cloudmesh_cluster.nodes.keys import KeyPair
from cloudmesh_cluster.nodes.user_data import LIMIT, UserData, user_data

GOLDEN = Path(__file__).parent.parent / "data" / "userdata"
BOOTSTRAP = KeyPair(b"the private half\n", "ssh-ed25519 AAAAbootstrap cm-bootstrap op-1")


def nodes_of(cluster: str, workers: int) -> list[Node]:
    """Return a master and workers, each with an address."""
    return [
        Node(f"{cluster}-master", "master", 0, "planned", "10.0.0.10"),
        *(
            Node(f"{cluster}-worker-{i}", "worker", i, "planned", f"10.0.{i // 250}.{i % 250 + 1}")
            for i in range(1, workers + 1)
        ),
    ]


def made(
    nodes: list[Node],
    node: Node,
    *,
    cluster: str = "t",
    booted: list[Node] | None = None,
    host_keys_signal: str | None = None,
) -> UserData:
    """Return the user data of a node."""
    return user_data(
        cluster=cluster,
        operation="op-1",
        node=node,
        nodes=nodes,
        booted=booted,
        user="cm",
        login_public_key="ssh-ed25519 AAAAlogin cm-login t",
        bootstrap=BOOTSTRAP,
        cidr="10.0.0.0/16",
        deadline=300,
        host_keys_signal=host_keys_signal,
    )


def parts_of(data: UserData) -> list[Message]:
    """Return the MIME parts, read as cloud-init reads them."""
    message = email.message_from_bytes(data.content)
    assert message.is_multipart()
    return [part for part in message.walk() if not part.is_multipart()]


def config_of(data: UserData) -> dict[str, Any]:
    """Return the cloud-config of the first part."""
    loaded = yaml.safe_load(str(parts_of(data)[0].get_payload()))
    assert isinstance(loaded, dict)
    return loaded


def file_of(data: UserData, path: str) -> bytes | None:
    """Return the content of a file that cloud-init would write."""
    for entry in config_of(data)["write_files"]:
        if entry["path"] == path:
            raw = entry["content"].encode()
            if "encoding" in entry:
                raw = base64.b64decode(raw)
            return gzip.decompress(raw) if entry.get("encoding") == "gz+b64" else raw
    return None


@pytest.mark.parametrize(("index", "name"), [(0, "master.txt"), (2, "last.txt")])
def test_text_is_as_agreed(index: int, name: str) -> None:
    """The text is deterministic and the one in tests/data (CM_GOLDEN=write renews that)."""
    nodes = nodes_of("t", 2)
    content = made(nodes, nodes[index]).content

    if os.environ.get("CM_GOLDEN") == "write":
        GOLDEN.joinpath(name).write_bytes(content)
    assert content == GOLDEN.joinpath(name).read_bytes()
    assert content == made(nodes, nodes[index]).content


def test_parts_stay_7bit() -> None:
    """Every part is 7bit text of a type that cloud-init knows."""
    nodes = nodes_of("t", 2)

    for node in nodes:
        parts = parts_of(made(nodes, node))
        assert [part.get_content_type() for part in parts] == ["text/cloud-config", "text/x-shellscript"][: len(parts)]
        assert {part["Content-Transfer-Encoding"] for part in parts} == {"7bit"}
        made(nodes, node).content.decode("ascii")


def test_first_boot_makes_user_and_name() -> None:
    """The login user, its two keys, the host name and the node's own hosts line are as the design says."""
    nodes = nodes_of("t", 2)
    config = config_of(made(nodes, nodes[1]))

    assert (config["hostname"], config["fqdn"], config["manage_etc_hosts"]) == ("t-worker-1", "t-worker-1", False)
    (user,) = config["users"]
    assert (user["name"], user["sudo"], user["lock_passwd"]) == ("cm", "ALL=(ALL) NOPASSWD:ALL", True)
    assert user["ssh_authorized_keys"] == [
        "ssh-ed25519 AAAAlogin cm-login t",
        f'restrict,from="10.0.0.0/16",command="sudo -n /usr/local/lib/cm/receive-hosts t" {BOOTSTRAP.public}',
    ]
    own = config["write_files"][0]
    assert (own["path"], own["append"]) == ("/etc/hosts", True)
    assert own["content"] == "\n# BEGIN cm t\n10.0.0.2 t-worker-1 worker-1\n# END cm t\n"


def test_only_the_last_node_gets_the_private_key() -> None:
    """The bootstrap key's private half and the list of nodes are in the last node's text and in no other."""
    nodes = nodes_of("t", 3)
    private = base64.b64encode(BOOTSTRAP.private)

    *others, last = (made(nodes, node) for node in nodes)

    assert [data.propagation for data in others] == ["none"] * 3
    assert not any(private in data.content or b"propagate" in data.content for data in others)
    assert last.propagation == "included"
    assert file_of(last, "/var/lib/cm/bootstrap/id_ed25519") == BOOTSTRAP.private
    assert file_of(last, "/var/lib/cm/bootstrap/hosts") == hosts_block("t", nodes).encode()
    assert b"setsid -f /usr/local/lib/cm/propagate-hosts t op-1 cm t-worker-3 300 " in last.content


def test_keys_are_one_line_of_base64() -> None:
    """A key is one line, so that a template can put it in."""
    nodes = nodes_of("t", 1)

    assert base64.b64encode(BOOTSTRAP.private) in made(nodes, nodes[-1]).content


def test_scaling_tells_all_nodes_to_the_new_ones_only() -> None:
    """New nodes learn all names; the last new one propagates to the new ones only."""
    nodes = nodes_of("t", 4)
    data = made(nodes, nodes[4], booted=nodes[3:])

    assert made(nodes, nodes[3], booted=nodes[3:]).propagation == "none"
    assert data.propagation == "included"
    assert file_of(data, "/var/lib/cm/bootstrap/hosts") == hosts_block("t", nodes).encode()
    assert file_of(data, "/var/lib/cm/bootstrap/peers") == b"t-worker-3\nt-worker-4\n"


def test_nodes_tell_their_host_keys() -> None:
    """Where the cloud is to be told, every node has the command for that in a file of its own, and runs it once."""
    nodes = nodes_of("t", 2)
    for node in nodes:
        data = made(nodes, node, host_keys_signal="curl -X POST https://heat/1")
        scripts = [str(part.get_payload()) for part in parts_of(data) if part.get_content_subtype() == "x-shellscript"]
        signal = file_of(data, "/var/lib/cm/host-keys-signal")

        assert signal is not None and signal.startswith(b"#!/bin/sh\nexec curl -X POST https://heat/1 --silent ")
        assert file_of(data, "/usr/local/lib/cm/tell-host-keys") is not None
        assert "setsid -f /usr/local/lib/cm/tell-host-keys 3600 " in scripts[-1]
        assert b"host-keys" not in made(nodes, node).content


def test_there_is_room_for_what_the_cloud_puts_in() -> None:
    """A text that only just fits is too large once the cloud has put its token into it, and is refused before."""
    node = nodes_of("t", 1)[0]
    given: dict[str, Any] = {
        "cluster": "t", "operation": "op-1", "node": node, "nodes": [node], "booted": nodes_of("t", 1), "user": "cm",
        "bootstrap": BOOTSTRAP, "cidr": "10.0.0.0/16", "deadline": 300, "host_keys_signal": "@x@",
    }  # fmt: skip
    spare = LIMIT - len(user_data(**given, login_public_key="").content)

    user_data(**given, login_public_key="A" * (spare - 1025))
    with pytest.raises(UsageError, match="clouds accept"):
        user_data(**given, login_public_key="A" * (spare - 1000))


def test_long_list_is_compressed() -> None:
    """1,000 nodes with the longest names fit, and the list comes out as it went in."""
    cluster = "c" * 30
    nodes = nodes_of(cluster, 1000)
    data = made(nodes, nodes[-1], cluster=cluster)

    assert data.propagation == "included"
    assert len(data.content) <= LIMIT
    assert file_of(data, "/var/lib/cm/bootstrap/hosts") == hosts_block(cluster, nodes).encode()


def test_list_past_the_limit_is_left_out() -> None:
    """A list that can't fit is left out, and the result says so."""
    nodes = nodes_of("t", 20_000)
    data = made(nodes, nodes[-1])

    assert data.propagation == "left out"
    assert b"propagate" not in data.content
    assert len(data.content) < LIMIT


def test_too_large_is_an_error_with_the_numbers() -> None:
    """What clouds would refuse is refused before, with both numbers."""
    node = nodes_of("t", 1)[0]

    with pytest.raises(UsageError, match=rf"user data of t-master has \d{{5}} bytes, clouds accept {LIMIT}"):
        user_data(
            cluster="t",
            operation="op-1",
            node=node,
            nodes=[node],
            user="cm",
            login_public_key="ssh-rsa " + "A" * LIMIT,
            bootstrap=BOOTSTRAP,
            cidr="10.0.0.0/16",
            deadline=300,
        )
