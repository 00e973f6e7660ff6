"""What a node's first process does between its birth and its init: namespaces, mounts, names, network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from cloudmesh_cluster.providers.local.engine import rootfs, syscalls, tuning
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.userns import ANCHOR, MOUNT_POINT

NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWCGROUP
)
CONSOLE = "console.log"
DRIVE = "/var/lib/cloud/seed/config_drive"


@dataclass(frozen=True)
class Birth:
    """All that a node is made of, as the holder sees it."""

    name: str
    address: str
    gateway: str
    layers: tuple[str, ...]
    nameserver: str | None
    hostname: str
    mac: str | None


def become(birth: Birth, *, cgroups: Sequence[int], ready: int, linked: int) -> None:
    """Turn this process, the first of a new PID namespace, into the node; returns only by an error.

    Args:
        birth: what the node is made of.
        cgroups: open `cgroup.procs` files to join.
        ready: is written to when the network namespace is there.
        linked: is read from until `eth0` is there.

    Raises:
        OSError, EngineError: a step failed.

    """
    os.setsid()
    for descriptor in cgroups:
        os.write(descriptor, b"0")
    syscalls.unshare(NAMESPACES)
    os.write(ready, b"r")
    console = os.open(f"{ANCHOR}/nodes/{birth.name}/{CONSOLE}", os.O_WRONLY | os.O_APPEND)
    views = _prepare_root(birth)
    if not os.read(linked, 1):
        raise EngineError("the node's network interface could not be made")
    _configure_network(birth)
    socket.sethostname(birth.hostname)
    os.umask(0o022)
    rootfs.change_root(MOUNT_POINT, views)
    rootfs.replace_file("/etc/hostname", f"{birth.hostname}\n")
    rootfs.replace_file("/etc/resolv.conf", f"nameserver {birth.nameserver}\n" if birth.nameserver else "")
    null = os.open("/dev/null", os.O_RDONLY)
    for target, source in ((0, null), (1, console), (2, console)):
        os.dup2(source, target)
    os.execve(tuning.INIT, [tuning.INIT], {})


def _prepare_root(birth: Birth) -> dict[str, int]:
    """Mount the layers, and return what is to be mounted where in them: all links there are the node's."""
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    own = f"{ANCHOR}/nodes/{birth.name}"
    rootfs.mount_layers(
        MOUNT_POINT,
        lower=[f"{ANCHOR}/images/{layer}" for layer in birth.layers],
        upper=f"{own}/disk/upper",
        work=f"{own}/disk/work",
    )
    return {
        "/proc": rootfs.proc(),
        "/sys": rootfs.sys_(),
        "/dev": rootfs.dev(),
        "/run": rootfs.run(),
        DRIVE: rootfs.copy_of(f"{own}/drive"),
    }


def _configure_network(birth: Birth) -> None:
    run_ip(
        "link set lo up",
        f"link set eth0 address {birth.mac or hardware_address(birth.address)}",
        f"addr add {birth.address} dev eth0",
        "link set eth0 up",
        f"route add default via {birth.gateway}",
    )


def hardware_address(address: str) -> str:
    """Return the hardware address of a node with an IPv4 address (`10.88.0.2/16`).

    A node that is made again under its address has the same one: the others would go on sending to the former one for
    half a minute.
    """
    octets = address.partition("/")[0].split(".")
    return ":".join(["02", "63", *(f"{int(octet):02x}" for octet in octets)])


def run_ip(*commands: str) -> None:
    """Run iproute2 commands in this network namespace.

    Raises:
        EngineError: one of them failed.

    """
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"ip: {done.stderr.strip()}")


def report(error: Exception, descriptor: int) -> None:
    """Tell the holder why the node can't be born."""
    message, hint = (error.message, error.hint) if isinstance(error, EngineError) else (str(error), "")
    os.write(descriptor, json.dumps({"error": message, "hint": hint}).encode())
