"""Who may talk to the services of a cluster: every port that its nodes serve is tried, from everywhere.

As a program it prints the table for a cluster that runs: python -m tests.support.reach CM_HOME CLUSTER
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.providers.local.engine import dial
from cloudmesh_cluster.views.tables import Table
from tests.support.command_line import CommandLine

PATIENCE = 2.0
SSH = 22
ORDINARY = "bob"
# Every TCP port of this node that is not on its loopback, with the program and the user who serve it.
SERVED = r"""
import os, pwd, re, subprocess
for line in subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout.splitlines():
    address, port = line.split()[3].rsplit(":", 1)
    found = re.search(r'\("([^"]*)",pid=(\d+)', line)
    if not address.startswith(("127.", "[::1]", "[::ffff:127.")) and found:
        user = pwd.getpwuid(os.stat(f"/proc/{found[2]}").st_uid).pw_name
        print(port, user, found[1])
"""
# What this node's user gets from ports of nodes, all at once: ADDRESS:PORT... -> a line each.
TRIED = r"""
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def answer(place):
    address, port = place.split(":")
    try:
        socket.create_connection((address, int(port)), timeout=2).close()
        return "open"
    except TimeoutError:
        return "silent"
    except OSError as error:
        return "refused" if isinstance(error, ConnectionRefusedError) else str(error)
with ThreadPoolExecutor(32) as pool:
    for place, said in zip(sys.argv[1:], pool.map(answer, sys.argv[1:])):
        print(place, said)
"""


@dataclass(frozen=True)
class Reach:
    """Who gets an answer from a port: an ordinary user of that node and of another, and who is no node."""

    node: str
    port: int
    user: str
    program: str
    same_node: str
    other_node: str
    outside: str


def who_may(cm: CommandLine, name: str, network: Path | None = None) -> list[Reach]:
    """Try every port that the nodes of a cluster serve.

    Args:
        cm: knows the cluster.
        name: its name.
        network: the folder of the engine whose nodes they are; None for that of a local cluster.

    """
    nodes = json.loads(cm("cluster", "nodes", name, "-f", "json").stdout)
    address = {node["name"]: node["private_ip"] for node in nodes}
    line = f"id {ORDINARY} >/dev/null 2>&1 || sudo useradd --system {ORDINARY}; sudo python3 -c {shlex.quote(SERVED)}"
    answers = json.loads(cm("cluster", "cmd", name, "-f", "json", "--", line).stdout)
    served = {
        (answer["node"], int(port)): (user, program)
        for answer in answers
        for port, user, program in (row.split(maxsplit=2) for row in answer["stdout"].splitlines())
    }
    places = [f"{address[node]}:{port}" for node, port in sorted(served)]
    within = {node: _from_node(cm, name, node, places) for node in address}
    folder = network or Home(cm.home, cm.cache).cluster(name) / "engine"
    others = {node: next((other for other in address if other != node), node) for node in address}
    return [
        Reach(
            node, port, *served[node, port],
            within[node][place], within[others[node]][place], _from_outside(folder, address[node], port),
        )
        for (node, port), place in zip(sorted(served), places, strict=True)
    ]  # fmt: skip


def _from_node(cm: CommandLine, name: str, node: str, places: Sequence[str]) -> dict[str, str]:
    program = shlex.join(["sudo", "-u", ORDINARY, "python3", "-c", TRIED, *places])
    (answer,) = json.loads(cm("cluster", "cmd", name, "-t", node, "-f", "json", "--", program).stdout)
    return dict(row.split(maxsplit=1) for row in answer["stdout"].splitlines())


def _from_outside(network: Path, address: str, port: int) -> str:
    """Return what a machine of the nodes' network gets that is none of them: their gateway."""
    with dial.inner_socket(network) as tried:
        tried.settimeout(PATIENCE)
        try:
            tried.connect((address, port))
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silent"
        return "open"


def open_outside(rows: Iterable[Reach]) -> list[str]:
    """Return what answers who is no node, but for SSH."""
    answering = [row for row in rows if row.outside == "open" and row.port != SSH]
    return [f"{row.node}:{row.port} ({row.user}, {row.program})" for row in answering]


def ssh_answers_this_machine(address: str) -> bool:
    """Return whether a process of this machine, whoever runs it, gets to a node: its SSH server would say something."""
    try:
        with socket.create_connection((address, SSH), timeout=PATIENCE) as tried:
            return tried.recv(4) == b"SSH-"
    except OSError:  # a gateway of this machine may accept whatever it is asked for, and then say nothing
        return False


if __name__ == "__main__":
    home = Home.from_environment(os.environ | {"CM_HOME": sys.argv[1]})
    found = who_may(CommandLine(home.root, home.cache), sys.argv[2], Path(sys.argv[3]) if sys.argv[3:] else None)
    sys.stdout.write(f"{Table(found, list(Reach.__dataclass_fields__))!r}\n")
