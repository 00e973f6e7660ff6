"""The first boot of real nodes: who is told what, what the bootstrap key is good for, and when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cloudmesh_cluster.core.events import silent
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CommandResult, Node, RoleSpec
from cloudmesh_cluster.nodes import boot_steps as first_contact
from cloudmesh_cluster.nodes import hosts, keys
from cloudmesh_cluster.nodes.user_data import user_data
from cloudmesh_cluster.providers.base import Boot, NodeBoot
from cloudmesh_cluster.providers.local.provider import LocalProvider
from cloudmesh_cluster.ssh.connections import Connections

NETWORK = "10.88.0.0/16"
MASTER, ONE, TWO = NODES = [
    Node("t-master", "master", 0, "planned", "10.88.0.10"),
    Node("t-worker-1", "worker", 1, "planned", "10.88.0.11"),
    Node("t-worker-2", "worker", 2, "planned", "10.88.0.12"),
]
ABSENT = Node("t-worker-9", "worker", 9, "planned", "10.88.0.99")
T = TypeVar("T")


@dataclass
class Booted:
    """Nodes that have booted once, not wired yet."""

    provider: LocalProvider
    login: keys.KeyPair
    bootstrap: keys.KeyPair
    host_keys: dict[str, list[str]] = field(default_factory=dict)
    greetings: dict[str, first_contact.Greeting] = field(default_factory=dict)

    def connections(self) -> Connections:
        """Return connections to the nodes."""
        return Connections(self.provider.dial, user="cm", login_key=self.login.private, host_keys=self.host_keys)

    async def boot(self, listed: list[Node], *, deadline: int) -> None:
        """Boot `NODES`, the last of which is told that there are `listed`, then greet them."""
        boots = []
        for node in NODES:
            data = user_data(
                cluster="t",
                operation="op-1",
                node=node,
                nodes=listed,
                user="cm",
                login_public_key=self.login.public,
                bootstrap=self.bootstrap,
                cidr=NETWORK,
                deadline=deadline,
            )
            boots.append(NodeBoot(node, RoleSpec(1), data.content))
        async with self.connections() as connections:
            booting = [node async for node in self.provider.provision(Boot("t", NETWORK, tuple(boots)), silent)]
            await asyncio.gather(*(self._reach(connections, node) for node in booting))

    async def _reach(self, connections: Connections, node: Node) -> None:
        self.host_keys[node.name] = [*(await self.provider.host_keys(node, deadline=120)).keys]
        connections.pin(node, self.host_keys[node.name])
        await connections.connect(node, within=120, login_grace=30)
        step = first_contact.greet(cluster="t", user="cm", node=node, nodes=NODES, timeout=120)
        result = await connections.run(node, step.command, sudo=True, stdin=step.stdin)
        assert result.ok, result
        self.greetings[node.name] = first_contact.parse_greeting(result.stdout)


def on_nodes(booted: Booted, work: Callable[[Connections], Coroutine[Any, Any, T]]) -> T:
    """Run `work(connections)` with connections to the nodes."""

    async def session() -> T:
        async with booted.connections() as connections:
            return await work(connections)

    return asyncio.run(session())


def on_all(booted: Booted, line: str, **options: Any) -> list[CommandResult]:
    """Run a line on all nodes."""
    return on_nodes(booted, lambda connections: connections.run_all(NODES, line, timeout=60, **options))


def step_on(booted: Booted, node: Node, step: first_contact.RemoteStep) -> str:
    """Run a step on a node and return what it printed."""
    result = on_nodes(booted, lambda c: c.run(node, step.command, sudo=True, stdin=step.stdin, timeout=60))
    assert result.ok, result
    return result.stdout


def knock(booted: Booted, private: bytes, command: str, *, at: Node = MASTER, source: Node = ONE) -> str:
    """Log in from a node to another one with one key alone; return what is answered."""
    line = (
        "umask 077; d=$(mktemp -d); cat >$d/key; printf 'x\\n' | ssh -F none -i $d/key -o IdentitiesOnly=yes "
        f"-o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=$d/known cm@{at.private_ip} "
        f"{command} 2>&1 | tail -n 1; rm -r $d"
    )
    return on_nodes(booted, lambda c: c.run(source, line, sudo=True, stdin=private, timeout=60)).stdout.strip()


def wire(booted: Booted) -> None:
    """Wire all nodes."""
    public_keys = {name: greeting.public_key for name, greeting in booted.greetings.items()}
    step = first_contact.wire(
        cluster="t",
        user="cm",
        hosts=hosts.hosts_block("t", NODES),
        known_hosts=hosts.known_hosts_block("t", NODES, booted.host_keys),
        authorized_keys=hosts.authorized_keys_block("t", NODES, public_keys, "all"),
    )
    assert [result.stdout for result in on_all(booted, step.command, sudo=True, stdin=step.stdin)] == ["ok\n"] * 3


@contextmanager
def nodes(home: Path, cache: Path, listed: list[Node], *, deadline: int) -> Iterator[Booted]:
    """Boot `NODES`; destroy them at the end."""
    provider = LocalProvider(Home(home, cache), {})
    booted = Booted(provider, keys.generate("login"), keys.generate(keys.bootstrap_comment("op-1")))
    try:
        asyncio.run(booted.boot(listed, deadline=deadline))
        yield booted
    finally:
        asyncio.run(provider.destroy_all("t"))


def test_from_first_boot_to_trust(home: Path, cm_cache: Path) -> None:
    """Names go round by the bootstrap key, which opens nothing but the receiver; wired, it opens nothing at all."""
    with nodes(home, cm_cache, NODES, deadline=60) as booted:
        report = first_contact.parse_propagation(step_on(booted, TWO, first_contact.propagation_result("op-1", 60)))
        search = first_contact.find_keys([keys.fingerprint(booted.bootstrap.public)])

        assert {greeting.cloud_init for greeting in booted.greetings.values()} == {"done"}
        assert report == first_contact.PropagationReport("op-1", "ok", {node.name: "ok" for node in NODES})
        tables = on_all(booted, "hostname; getent hosts $(hostname); cat /etc/hosts")
        for node, result in zip(NODES, tables, strict=True):
            name, own, table = result.stdout.split("\n", 2)
            assert (name, own.split()) == (node.name, [node.private_ip, node.name, node.short_name])
            assert table.endswith(hosts.hosts_block("t", NODES))
            assert "127.0.1.1" not in table

        # The control: the same probe reaches the receiver, and no shell, before the key is removed.
        for command in ("", "id", "'bash -i'"):
            assert "no complete block of cluster t" in knock(booted, booted.bootstrap.private, command)
        own_file = "/var/lib/cm/bootstrap/id_ed25519"
        assert [own_file in step_on(booted, node, search) for node in NODES] == [False, False, True]
        modes = on_all(booted, f"stat -c '%a %U' /var/lib/cm/bootstrap {own_file}", sudo=True)
        assert modes[2].stdout == "700 root\n600 root\n"

        wire(booted)

        assert "Permission denied" in knock(booted, booted.bootstrap.private, "id")
        assert [step_on(booted, node, search) for node in NODES] == ["", "", ""]
        names = " ".join(f"{node.name} {node.short_name} {node.private_ip}" for node in NODES)
        answers = on_all(booted, f"for name in {names}; do ssh -o BatchMode=yes $name hostname; done")
        expected = "".join(f"{node.name}\n" * 3 for node in NODES)
        assert [(answer.stdout, answer.stderr) for answer in answers] == [(expected, "")] * 3
        stolen = on_nodes(booted, lambda c: c.run(TWO, "cat ~/.ssh/id_ed25519")).stdout.encode()
        assert "Permission denied" in knock(booted, stolen, "hostname")  # good from its own node's address only
        assert knock(booted, stolen, "hostname", source=TWO) == "t-master"


def test_absent_peer_is_reported(home: Path, cm_cache: Path) -> None:
    """A node that never comes up is named with the reason; all others are told, and wiring repairs the names."""
    with nodes(home, cm_cache, [MASTER, ONE, ABSENT, TWO], deadline=4) as booted:
        answer = step_on(booted, TWO, first_contact.propagation_result("op-1", 60))
        report = first_contact.parse_propagation(answer)

        assert report.state == "failed"
        assert list(report.failures) == [ABSENT.name]
        assert "10.88.0.99 port 22: no answer" in report.failures[ABSENT.name]
        wire(booted)
        assert not any("worker-9" in result.stdout for result in on_all(booted, "cat /etc/hosts"))
