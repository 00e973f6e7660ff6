"""What a node is told at its first boot: one MIME multipart text for every provider.

Everything in it can be read by every process of the node, for as long as the node lives. So there is nothing of worth
in it: the bootstrap key opens a receiver of hosts blocks and nothing else, and only until the nodes are wired.
"""

from __future__ import annotations

import base64
import gzip
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from typing import Any, Literal

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.nodes.hosts import hosts_block
from cloudmesh_cluster.nodes.keys import KeyPair

Propagation = Literal["none", "included", "left out"]

LIMIT = 49_149  # raw bytes: Nova takes 65,535 of base64
_ROOM_FOR_SIGNAL = 1024
"""Bytes that the command may have which the cloud puts where a signal is named: it holds a token."""
_TELL_FOR = 3600
"""Seconds for which a node tries to tell the cloud its host keys: as long as the token is good, by default."""
_PLAIN_LIST_LIMIT = 16_384
_BOUNDARY = "==cm-user-data=="
_LIBRARY = "/usr/local/lib/cm"
_BOOTSTRAP = "/var/lib/cm/bootstrap"


@dataclass(frozen=True)
class UserData:
    """The user data of one node.

    Args:
        content: the MIME multipart text.
        propagation: "included" for the last node, which sends the hosts block to all others; "left out" when it
            should, but the list of nodes is too large; "none" for every other node.

    """

    content: bytes = field(repr=False)
    propagation: Propagation


def user_data(
    *,
    cluster: str,
    operation: str,
    node: Node,
    nodes: Sequence[Node],
    user: str,
    login_public_key: str,
    bootstrap: KeyPair,
    cidr: str,
    deadline: int,
    booted: Sequence[Node] | None = None,
    signal: str | None = None,
    host_keys_signal: str | None = None,
) -> UserData:
    """Return the user data of a node.

    Args:
        cluster: its name.
        operation: the id of the operation that boots the node.
        node: the node; an empty `private_ip` leaves its own name to be told over SSH.
        nodes: all nodes of the cluster, for the hosts block.
        user: the login user to make, with sudo and without a password.
        login_public_key: opens the login user's account to the client.
        bootstrap: the operation's own key pair; its private half goes to the last node only.
        cidr: the addresses from which the bootstrap key is accepted.
        deadline: seconds for which the last node tries to reach the others.
        booted: the nodes that this operation boots, all of `nodes` by default; the last one propagates among them.
        signal: the curl command, or what the cloud replaces by it, that tells the cloud that the last node is done.
        host_keys_signal: likewise the one by which every node tells the cloud its host keys.

    Raises:
        UsageError: the text is larger than clouds accept.

    """
    booted = nodes if booted is None else booted
    config = _cloud_config(cluster, node, user, _authorized_keys(cluster, login_public_key, bootstrap, cidr))
    config["write_files"] += _host_keys_files(host_keys_signal)
    room = _ROOM_FOR_SIGNAL * bool(host_keys_signal)
    telling: list[tuple[str, Any]] = [("x-shellscript", _tell_script())] if host_keys_signal else []
    plain = _multipart([("cloud-config", config), *telling])
    if node.name != booted[-1].name:
        return UserData(_checked(plain, room, node), "none")
    peers = None if len(booted) == len(nodes) else [peer.name for peer in booted]
    files = _propagation_files(hosts_block(cluster, nodes), bootstrap, peers) + _signal_files(signal)
    start = _start_script(cluster, operation, user, node, deadline)
    config_of_last = {**config, "write_files": config["write_files"] + files}
    whole = _multipart([("cloud-config", config_of_last), ("x-shellscript", start), *telling])
    if len(whole) + room + _ROOM_FOR_SIGNAL * bool(signal) <= LIMIT:
        return UserData(whole, "included")
    return UserData(_checked(plain, room, node), "left out")


def _checked(content: bytes, room: int, node: Node) -> bytes:
    if len(content) + room > LIMIT:
        raise UsageError(f"the user data of {node.name} has {len(content) + room} bytes, clouds accept {LIMIT}")
    return content


def _authorized_keys(cluster: str, login_public_key: str, bootstrap: KeyPair, cidr: str) -> list[str]:
    receiver = f"sudo -n {_LIBRARY}/receive-hosts {cluster}"
    return [login_public_key.strip(), f'restrict,from="{cidr}",command="{receiver}" {bootstrap.public}']


def _cloud_config(cluster: str, node: Node, user: str, authorized_keys: list[str]) -> dict[str, Any]:
    own_name = hosts_block(cluster, [node]) if node.private_ip else ""
    return {
        "hostname": node.name,
        "fqdn": node.name,
        "prefer_fqdn_over_hostname": False,
        "preserve_hostname": False,
        "manage_etc_hosts": False,
        "ssh_pwauth": False,
        "ssh_genkeytypes": ["ed25519"],
        "ssh": {"emit_keys_to_console": True},
        "users": [
            {
                "name": user,
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": authorized_keys,
            }
        ],
        "write_files": [
            *([{"path": "/etc/hosts", "append": True, "content": "\n" + own_name}] if own_name else []),
            _script_file("blocks.sh", "0644"),
            _script_file("receive-hosts", "0755"),
        ],
    }


def _script_file(name: str, permissions: str) -> dict[str, Any]:
    content = resource("scripts", "boot", name).read_text("ascii")
    return {"path": f"{_LIBRARY}/{name}", "permissions": permissions, "content": content}


def _propagation_files(block: str, bootstrap: KeyPair, peers: Sequence[str] | None) -> list[dict[str, Any]]:
    files = [
        _script_file("propagate-hosts", "0755"),
        {
            "path": f"{_BOOTSTRAP}/id_ed25519",
            "permissions": "0600",
            "encoding": "b64",
            "content": base64.b64encode(bootstrap.private).decode("ascii"),
        },
        {"path": f"{_BOOTSTRAP}/hosts", "permissions": "0600", **_list_content(block)},
    ]
    if peers is not None:
        names = "".join(f"{name}\n" for name in peers)
        files.append({"path": f"{_BOOTSTRAP}/peers", "permissions": "0600", **_list_content(names)})
    return files


def _signal_files(signal: str | None) -> list[dict[str, Any]]:
    """Return the script by which the last node tells the cloud how the propagation ended; its argument is the state."""
    if signal is None:
        return []
    data = '"{\\"status\\": \\"SUCCESS\\", \\"data\\": \\"$1\\"}"'
    content = f"#!/bin/sh\nexec {signal} --silent --show-error --max-time 30 --retry 5 --data-binary {data}\n"
    return [{"path": "/var/lib/cm/signal", "permissions": "0700", "content": content}]


def _host_keys_files(signal: str | None) -> list[dict[str, Any]]:
    """Return the scripts by which a node tells the cloud its host keys."""
    if signal is None:
        return []
    options = "--silent --show-error --fail --max-time 30 --output /dev/null --data-binary @-"
    content = f"#!/bin/sh\nexec {signal} {options}\n"
    return [
        _script_file("tell-host-keys", "0755"),
        {"path": "/var/lib/cm/host-keys-signal", "permissions": "0700", "content": content},
    ]


def _list_content(text: str) -> dict[str, str]:
    """Return a list of nodes as it is, for people and Heat's str_replace to read, or compressed when it is long."""
    if len(text) <= _PLAIN_LIST_LIMIT:
        return {"content": text}
    packed = gzip.compress(text.encode("ascii"), mtime=0)
    return {"encoding": "gz+b64", "content": base64.b64encode(packed).decode("ascii")}


def _start_script(cluster: str, operation: str, user: str, node: Node, deadline: int) -> str:
    command = shlex.join([f"{_LIBRARY}/propagate-hosts", cluster, operation, user, node.name, str(deadline)])
    return (
        "#!/bin/bash\n"
        "# In the background: the node is ready for work before its last peer is up.\n"
        "set -euo pipefail\n"
        "chmod 0700 " + _BOOTSTRAP + "\n"
        "install -d -m 0700 /var/log/cm\n"
        f"setsid -f {command} </dev/null >/var/log/cm/propagation.log 2>&1\n"
    )


def _tell_script() -> str:
    return (
        "#!/bin/bash\n"
        "# In the background: the cloud may be away for a while.\n"
        "set -euo pipefail\n"
        "install -d -m 0700 /var/log/cm\n"
        f"setsid -f {_LIBRARY}/tell-host-keys {_TELL_FOR} </dev/null >/var/log/cm/host-keys.log 2>&1\n"
    )


def _multipart(parts: Sequence[tuple[str, Any]]) -> bytes:
    message = MIMEMultipart(boundary=_BOUNDARY, policy=compat32)
    for number, (subtype, content) in enumerate(parts, start=1):
        text = content if isinstance(content, str) else "#cloud-config\n" + _yaml(content)
        # Plain 7bit: base64 would hide parameters from Heat's str_replace.
        part = MIMEText(text, subtype, "us-ascii", policy=compat32)
        part.add_header("Content-Disposition", "attachment", filename=f"cm-{number}-{subtype}")
        message.attach(part)
    return message.as_bytes()


def _yaml(content: Any) -> str:
    import yaml

    def text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
        # Texts of several lines as blocks, which people can read, and one-line keys on one line.
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    # The C emitter writes the same in a sixth of the time, where there is one.
    base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    own_dumper: Any = type("OwnDumper", (base,), {})
    own_dumper.add_representer(str, text)
    return str(yaml.dump(content, Dumper=own_dumper, sort_keys=False, width=1_000_000, allow_unicode=False))
