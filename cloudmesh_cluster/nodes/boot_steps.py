"""What the client runs on nodes to make a cluster of them, and what they answer.

Each step is one command with everything it needs on its standard input: one exec on a connection that is open anyway,
and nothing that must be installed first.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cloudmesh_cluster.core.errors import ProviderError
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.nodes.hosts import hosts_block, marked_block, parse_host_keys

CloudInit = Literal["done", "degraded", "error", "running", "absent"]
PropagationState = Literal["ok", "failed", "timed out"]


@dataclass(frozen=True)
class RemoteStep:
    """A command to be run as root, with its standard input."""

    command: str
    stdin: bytes = field(repr=False)


@dataclass(frozen=True)
class Greeting:
    """What a node says of itself.

    Args:
        hostname: as its kernel knows it.
        public_key: the node's own key, without a comment.
        time: the node's clock in seconds since the epoch.
        cloud_init: "done"; "degraded": ended with recoverable errors; "error": a part of it failed; "running": it
            had not ended in time; "absent": the node has none.
        cloud_init_errors: what cloud-init reports, recoverable errors too.
        system: its distribution and kernel.

    """

    hostname: str
    public_key: str
    time: float
    cloud_init: CloudInit
    cloud_init_errors: tuple[str, ...] = ()
    system: str = ""


@dataclass(frozen=True)
class PropagationReport:
    """What the last node reports: for each peer by name "ok", or why it could not be told."""

    operation: str
    state: PropagationState
    peers: Mapping[str, str]

    @property
    def failures(self) -> dict[str, str]:
        """The peers that were not told, with the reason."""
        return {name: answer for name, answer in self.peers.items() if answer != "ok"}


def greet(*, cluster: str, user: str, node: Node, nodes: Iterable[Node], timeout: int) -> RemoteStep:
    """Return the step that waits for the end of cloud-init, writes the hosts block and makes the node's own key.

    Args:
        cluster: its name.
        user: the login user, who owns the key.
        node: the node it runs on.
        nodes: the nodes whose addresses are known.
        timeout: seconds to wait for cloud-init at most.

    """
    return _step("greet", [cluster, user, node.name, str(timeout)], {"hosts": hosts_block(cluster, nodes)})


def wire(
    *,
    cluster: str,
    user: str,
    hosts: str,
    known_hosts: str,
    authorized_keys: str,
    ssh_ports: str = "",
    firewall: str = "",
    remove_bootstrap: bool = True,
) -> RemoteStep:
    """Return the step that replaces a node's three marked blocks; it is the same for all nodes of a cluster.

    Args:
        cluster: its name.
        user: the login user, whose authorized keys are meant.
        hosts: the block that `hosts_block` makes.
        known_hosts: the block that `known_hosts_block` makes.
        authorized_keys: the block that `authorized_keys_block` makes.
        ssh_ports: what `hosts.ssh_ports` returns.
        firewall: what `firewall.firewall` returns.
        remove_bootstrap: whether to remove all bootstrap keys, once the propagation's result has been read.

    """
    sections = {"hosts": hosts, "known_hosts": known_hosts, "authorized_keys": authorized_keys}
    if ssh_ports:
        sections["ssh_ports"] = ssh_ports
    if firewall:
        sections["firewall"] = firewall
    return _step("wire", [cluster, user, "remove" if remove_bootstrap else "keep"], sections)


def propagation_result(operation: str, timeout: int) -> RemoteStep:
    """Return the step, for the last node, that waits at most `timeout` seconds for the propagation's result."""
    return _program(_script("propagation-result"), [operation, str(timeout)])


def take_machine(*, cluster: Marks, user: str, node: Node, login_public_key: str) -> RemoteStep:
    """Return the step that takes a machine that exists into a cluster: it keeps what was there, and lets the key in.

    Args:
        cluster: its name and id, which the machine is marked with.
        user: the login user.
        node: what the machine becomes.
        login_public_key: the cluster's own login key.

    """
    sections = {"login": marked_block(f"{cluster.cluster}/login", [login_public_key])}
    return _step("take-machine", [cluster.cluster, node.name, user, *_id(cluster)], sections, also="machine.sh")


def give_back(cluster: Marks) -> RemoteStep:
    """Return the step that makes a machine what it was before its cluster, and prints each path that is left."""
    return _step("give-back", [cluster.cluster, *_id(cluster)], {}, also="machine.sh")


def _id(cluster: Marks) -> list[str]:
    """Return the id of a cluster as a further argument; there is none where an older version has made it."""
    return [cluster.id] if cluster.id else []


def inspect_machine() -> RemoteStep:
    """Return the step, for the login user, that prints what a machine is like; it changes nothing."""
    return _program(_script("inspect-machine"), [])


def try_ports(places: Sequence[str]) -> RemoteStep:
    """Return the step, for the login user, that tries to connect to places (`ADDRESS:PORT`)."""
    return _program(_script("try-ports"), places)


def listen(ports: Sequence[int]) -> str:
    """Return the shell line, for the login user, that listens on ports until its input ends."""
    return shlex.join(["python3", "-I", "-c", _script("listen.py").decode(), *map(str, ports)])


def find_keys(keys: Sequence[str]) -> RemoteStep:
    """Return the step that prints each file of a node by which one of `keys` would open it.

    Args:
        keys: the base64 part of public keys, or fingerprints (`SHA256:...`).

    """
    return _program(_script("rights.sh") + _script("bootstrap-keys"), keys)


def parse_greeting(answer: str, *, node: str = "a node") -> Greeting:
    """Return what a node said to `greet`.

    Raises:
        ProviderError: the answer makes no sense, or what it gives for its public key is none.

    """
    try:
        data = json.loads(answer)
        if parse_host_keys(data["public_key"]) != [data["public_key"]]:
            raise ProviderError(f"{node} has no usable public key: {data['public_key'][:80]!r}")
        state, errors = _cloud_init(data)
        return Greeting(
            hostname=_text(data["hostname"]),
            public_key=data["public_key"],
            time=_finite(data["time"]),
            cloud_init=state,
            cloud_init_errors=errors,
            system=str(data.get("system", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ProviderError(f"the greeting of {node} makes no sense: {answer[:200]!r}") from error


def parse_propagation(answer: str) -> PropagationReport:
    """Return what the last node reported.

    Raises:
        ProviderError: the report makes no sense.

    """
    try:
        data = json.loads(answer)
        if data["state"] not in get_args(PropagationState):
            raise ValueError(data["state"])
        peers = {_text(name): _text(said) for name, said in dict(data["peers"]).items()}
        return PropagationReport(operation=_text(data["operation"]), state=data["state"], peers=peers)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProviderError(f"the propagation's report makes no sense: {answer[:200]!r}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _cloud_init(data: Mapping[str, Any]) -> tuple[CloudInit, tuple[str, ...]]:
    if data["cloud_init"] != "finished":
        return ("running" if data["cloud_init"] == "running" else "absent"), ()
    errors = tuple(str(error) for error in data["result"]["v1"].get("errors", ()))
    stages = ((data["status"] or {}).get("v1") or {}).values()
    recoverable = tuple(
        f"{level}: {message}"
        for stage in stages
        if isinstance(stage, dict)
        for level, messages in (stage.get("recoverable_errors") or {}).items()
        for message in messages
    )
    return "error" if errors else "degraded" if recoverable else "done", errors + recoverable


def _step(name: str, arguments: Sequence[str], sections: Mapping[str, str], *, also: str = "") -> RemoteStep:
    payload = "".join(f"== {section}\n{text}" for section, text in sections.items()) + "== end\n"
    parts = ["blocks.sh", "rights.sh", "payload.sh", *([also] if also else []), name]
    return _program(b"".join(_script(part) for part in parts), arguments, payload.encode("ascii"))


def _program(program: bytes, arguments: Sequence[str], payload: bytes = b"") -> RemoteStep:
    # `bash -s` would read its program from a pipe byte by byte, a system call for each.
    words = ["bash", "-c", 'IFS= read -rN "$0" program; eval "$program"', str(len(program)), *arguments]
    return RemoteStep(shlex.join(words), program + payload)


def _script(name: str) -> bytes:
    return resource("scripts", "boot", name).read_bytes()
