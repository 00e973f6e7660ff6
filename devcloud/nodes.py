"""The nodes that Nova's servers are, a node engine for each Neutron network.

Run as a program (`python -I -S nodes.py VERB`, a JSON object on standard input and one on standard output) it is what
OpenStack's services call: they have patched their own Python's sockets and threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.console import read_console
from cloudmesh_cluster.providers.local.engine.engine import Engine, NodeSpec
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from devcloud import wiring
from devcloud.errors import DevcloudError
from devcloud.layout import ENGINE, Cloud
from devcloud.wiring import Wiring

Request = dict[str, Any]
_WIRING = "wiring.json"


class Network:
    """The nodes of one Neutron network."""

    def __init__(self, cloud: Cloud, identity: str) -> None:
        self._cloud = cloud
        self._identity = identity
        self.folder = cloud.networks / identity
        self.engine = Engine(self.folder / "engine", images.images_folder(cloud.images))

    @property
    def cable(self) -> str:
        """The network interface of this machine that leads to the network."""
        # The name of a network interface has at most 15 characters.
        return "dc" + hashlib.sha256(self._identity.encode()).hexdigest()[:12]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody else open, close or wire this network."""
        with (self._cloud.run / f"network-{self._identity}.lock").open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def open(self, gateway: str | None) -> None:
        """Have the network run, connected as Neutron says."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine.open(gateway)
        wiring.apply(Wiring.read(self.folder / _WIRING), self._cloud, self.engine_folder, self.cable)

    def wire(self, wanted: Wiring) -> None:
        """Connect the network as Neutron says, now if it has nodes, else when it gets some."""
        if wanted == Wiring():
            (self.folder / _WIRING).unlink(missing_ok=True)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            wanted.write(self.folder / _WIRING)
        if (self.engine_folder / "engine.sock").exists():
            wiring.apply(wanted, self._cloud, self.engine_folder, self.cable)
        self.remove_if_unused()

    def remove_if_unused(self) -> None:
        """Remove the network's namespace when it has no nodes, and its folder when nothing is left in it."""
        if self.engine_folder.exists() and not self.engine.known():
            self.engine.cleanup()
            self.engine_folder.rmdir()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    @property
    def engine_folder(self) -> Path:
        """The folder of the network's engine."""
        return self.folder / "engine"


def network_of(cloud: Cloud, node: str) -> Network | None:
    """Return the network that a node has its disk in."""
    for found in cloud.networks.glob(f"*/engine/nodes/{node}"):
        return Network(cloud, found.parents[2].name)
    return None


def console(cloud: Cloud, node: str) -> bytes:
    """Return what a node has printed since it was made, without the middle when it is long."""
    for found in cloud.networks.glob(f"*/engine/nodes/{node}/console.log"):
        return read_console(found).encode()
    return b""


# --- what OpenStack asks for --------------------------------------------------------------------------------------


def spawn(cloud: Cloud, request: Request) -> None:
    """Start a new node.

    Args:
        cloud: the cloud.
        request: node (its id), network (its id), gateway (address with prefix), address (with prefix), mac,
            hostname, memory_mib, cpus, drive (a folder).

    """
    identity = ids_of_this_user()
    layers = images.ensure_base(cloud.images, ids=identity)
    own = Network(cloud, request["network"])
    fields = {key: request[key] for key in ("address", "mac", "hostname", "memory_mib", "cpus")}
    spec = NodeSpec(name=request["node"], layers=layers, drive=Path(request["drive"]), **fields)
    with own.locked():
        own.open(request["gateway"])
        own.engine.start([spec])


def start(cloud: Cloud, request: Request) -> None:
    """Start a stopped node with its disk; one that runs is left alone."""
    own = _known(cloud, request["node"])
    with own.locked():
        own.open(None)
        own.engine.start([request["node"]])


def stop(cloud: Cloud, request: Request) -> None:
    """End a node at once; its disk stays."""
    own = network_of(cloud, request["node"])
    if own is not None:
        own.engine.stop([request["node"]])


def destroy(cloud: Cloud, request: Request) -> None:
    """Remove a node with its disk, and its network's namespace with the last one; a missing one is no error."""
    own = network_of(cloud, request["node"])
    if own is not None:
        with own.locked():
            own.engine.destroy([request["node"]])
            own.remove_if_unused()


def info(cloud: Cloud, request: Request) -> dict[str, bool]:
    """Return whether a node runs."""
    own = network_of(cloud, request["node"])
    return {"running": own is not None and request["node"] in own.engine.running()}


def wire(cloud: Cloud, request: Request) -> None:
    """Connect a network: network (its id), external, floating."""
    own = Network(cloud, request["network"])
    with own.locked():
        own.wire(Wiring(request["external"], request["floating"]))


def _known(cloud: Cloud, node: str) -> Network:
    own = network_of(cloud, node)
    if own is None:
        raise DevcloudError(f"node {node} has no disk here")
    return own


# --- what devcloud itself asks for --------------------------------------------------------------------------------


def ensure_image(cloud: Cloud, say: Callable[[str], None]) -> None:
    """Have the node engine's base image in the cache."""
    with _explained():
        images.ensure_base(cloud.images, ids=ids_of_this_user(), progress=say)


def close_all(cloud: Cloud) -> None:
    """End all nodes and networks; disks stay."""
    with _explained():
        for own in _all(cloud):
            own.engine.close()


def remove_all(cloud: Cloud) -> None:
    """Remove all nodes and networks."""
    with _explained():
        for own in _all(cloud):
            own.engine.cleanup()
            shutil.rmtree(own.folder)


def _all(cloud: Cloud) -> list[Network]:
    return [Network(cloud, folder.name) for folder in sorted(cloud.networks.glob("*")) if folder.is_dir()]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise DevcloudError(error.message, error.hint) from error


def first_address(cidr: str) -> str:
    """Return the address that a subnet without a gateway has for it, without prefix."""
    return str(ipaddress.IPv4Network(cidr)[1])


_VERBS = {verb.__name__: verb for verb in (spawn, start, stop, destroy, info, wire)}


def main(verb: str) -> int:
    """Do what standard input asks for; a failure is the answer `{"error": ...}` and exit 1."""
    cloud = Cloud.from_environment(os.environ, ENGINE)
    try:
        answer = _VERBS[verb](cloud, json.load(sys.stdin)) or {}
    except (EngineError, DevcloudError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
