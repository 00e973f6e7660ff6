"""A cluster on a real OpenStack: made, grown, shrunk and deleted, and what the cloud says of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import Devcloud

PROVIDERS = "dc: {type: openstack, os_cloud: devcloud, image: debian-12, flavor: m1.small}\n"
NAME = f"c{secrets.token_hex(3)}"
STACK = f"cm-{NAME}"
PRIVATE_KEY_MARKS = (
    "BEGIN OPENSSH PRIVATE KEY",
    "LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZ",  # the same in base64, as user_data carries it
)


@pytest.fixture(scope="module")
def cm(devcloud: Devcloud, shared_cm: CommandLine) -> CommandLine:
    """Return `cm` that knows the devcloud as provider `dc`."""
    providers = shared_cm.home / "providers.yaml"
    providers.touch(mode=0o600)
    providers.write_text(PROVIDERS, encoding="utf-8")
    return shared_cm


@pytest.fixture(scope="module")
def cluster(cm: CommandLine, devcloud: Devcloud) -> Iterator[CommandLine]:
    """Return `cm` with a cluster of one worker; its stack goes whatever becomes of the tests."""
    cm("cluster", "create", NAME, "--provider", "dc", "-n", "1", "-y", timeout=600)
    yield cm
    cm("cluster", "delete", NAME, "--force", "-y", expect=None)
    devcloud.delete_stack(STACK)


def ids_of(cm: CommandLine) -> dict[str, str]:
    """Return the server id of each node, as `cm` knows it."""
    rows = json.loads(cm("cluster", "nodes", NAME, "-f", "json").stdout)
    return {row["name"]: row["provider_id"] for row in rows}


def servers_of(devcloud: Devcloud, cluster: str = NAME) -> dict[str, str]:
    """Return the id of each server that Nova has of a cluster, by name."""
    servers = devcloud.nova.servers.list(search_opts={"name": f"^{cluster}-"})
    return {server.name: server.id for server in servers}


def things_of(devcloud: Devcloud, cluster: str = NAME) -> list[tuple[str, str]]:
    """Return everything in the project that bears a cluster's name, tags or description."""
    network, tag, stack = devcloud.connection.network, f"cm-cluster-{cluster}", f"cm-{cluster}"
    found: list[tuple[str, Any]] = []
    for kind, listed in (
        ("port", network.ports()),
        ("network", network.networks()),
        ("subnet", network.subnets()),
        ("router", network.routers()),
        ("security group", network.security_groups()),
        ("floating ip", network.ips()),
        ("keypair", devcloud.connection.compute.keypairs()),
    ):
        for each in listed:
            name = each.name or ""
            said = (getattr(each, "description", None) or "").split()
            marks = [*(getattr(each, "tags", None) or []), *said]
            if tag in marks or name.startswith((f"{cluster}-", stack)):
                found.append((kind, name or each.id))
    found += [("server", name) for name in servers_of(devcloud, cluster)]
    found += [("stack", stack)] if devcloud.stack_status(stack) else []
    return found


def test_wrong_image_makes_nothing(cm: CommandLine, devcloud: Devcloud) -> None:
    """An image that the cloud does not have is wrong usage that names it and those there are; nothing is made."""
    wrong = f"{NAME}w"
    answer = cm("cluster", "create", wrong, "--provider", "dc", "--image", "debian-99", "-y", expect=2)

    assert "no image 'debian-99'" in answer.stderr
    assert "debian-12" in answer.stderr
    assert things_of(devcloud, wrong) == []
    assert wrong not in cm("cluster", "list", "-f", "value", "-c", "name").stdout.split()


def test_cloud_has_what_cm_says(cluster: CommandLine, devcloud: Devcloud) -> None:
    """The stack is complete, and its servers, all ACTIVE, are the nodes; the master alone has a floating IP."""
    rows = json.loads(cluster("cluster", "nodes", NAME, "-f", "json").stdout)
    servers = {name: devcloud.nova.servers.get(each) for name, each in servers_of(devcloud).items()}

    assert devcloud.stack_status(STACK) == "CREATE_COMPLETE"
    assert sorted(servers) == [f"{NAME}-master", f"{NAME}-worker-1"]
    assert ids_of(cluster) == {name: server.id for name, server in servers.items()}
    assert {server.status for server in servers.values()} == {"ACTIVE"}
    assert {server.metadata["cm_cluster"] for server in servers.values()} == {NAME}
    for row in rows:
        addresses = [each["addr"] for listed in servers[row["name"]].addresses.values() for each in listed]
        assert addresses == [row["private_ip"], *([row["public_ip"]] if row["role"] == "master" else [])]


def test_everything_bears_the_name(cluster: CommandLine, devcloud: Devcloud) -> None:
    """All kinds of things that a cluster is made of are found by its name or tags: so a leftover would be."""
    assert {kind for kind, _ in things_of(devcloud)} == {
        *("stack", "server", "port", "network", "subnet", "router", "security group", "floating ip", "keypair"),
    }


def test_commands_reach_all_nodes(cluster: CommandLine) -> None:
    """A command runs on the master and, through it, on the worker."""
    answer = cluster("cluster", "cmd", NAME, "-f", "json", "hostname")

    assert [row["stdout"] for row in json.loads(answer.stdout)] == [f"{NAME}-master\n", f"{NAME}-worker-1\n"]


def test_private_key_is_out_of_sight(cluster: CommandLine, devcloud: Devcloud) -> None:
    """Whoever may read the stack sees no private key: neither in stack show, nor its template or environment."""
    stack = devcloud.heat.stacks.get(STACK)
    shown = {
        "show": json.dumps(stack.to_dict()),
        "template": json.dumps(devcloud.heat.stacks.template(STACK)),
        "environment": json.dumps(devcloud.heat.stacks.environment(STACK)),
    }

    assert "cm-bootstrap" in shown["show"], "the parameters are not in it at all"
    assert stack.parameters["bootstrap_private_key"] == "******"
    for where, text in shown.items():
        assert not [mark for mark in PRIVATE_KEY_MARKS if mark in text], where


def test_scaling_keeps_the_other_servers(cluster: CommandLine, devcloud: Devcloud) -> None:
    """A worker comes and goes; the servers that were there stay the same ones."""
    before = servers_of(devcloud)

    cluster("cluster", "scale", NAME, "+1", timeout=600)
    grown = servers_of(devcloud)
    assert sorted(grown) == [f"{NAME}-master", f"{NAME}-worker-1", f"{NAME}-worker-2"]
    assert {name: each for name, each in grown.items() if name in before} == before
    assert devcloud.stack_status(STACK) == "UPDATE_COMPLETE"

    cluster("cluster", "scale", NAME, "1", timeout=600)
    assert servers_of(devcloud) == before == ids_of(cluster)
    assert [name for kind, name in things_of(devcloud) if kind == "port" and name.endswith("-2")] == []


def test_private_key_is_out_of_sight_after_growing(cluster: CommandLine, devcloud: Devcloud) -> None:
    """A stack that was changed hides the key of the last operation as well."""
    test_private_key_is_out_of_sight(cluster, devcloud)


def test_delete_leaves_nothing(cluster: CommandLine, devcloud: Devcloud) -> None:
    """After delete the project has nothing of the cluster any more."""
    assert things_of(devcloud) != []

    cluster("cluster", "delete", NAME, "-y", timeout=600)

    assert things_of(devcloud) == []
