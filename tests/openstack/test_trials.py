"""A cloud that is in trouble while a cluster is made or deleted: what heals is waited for, what does not is said."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from devcloud.layout import PORTS
from tests.support.cloud_project import Project, cm_of, heat_behind_a_proxy, nothing_left
from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import wait_for
from tests.support.journal_watch import started

PROVIDERS = """\
dc: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small}}
deaf: {{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small, network: deaf}}
troubled: {{type: openstack, os_cloud: troubled, image: debian-12, flavor: m1.small}}
"""


@pytest.fixture(scope="module")
def cm(project: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` that knows the project as provider `dc`."""
    with cm_of(project, cm_cache, PROVIDERS.format(cloud=project.name)) as made:
        yield made


@pytest.fixture(autouse=True)
def _empty_cloud(project: Project, cm: CommandLine) -> Iterator[None]:
    """Let no test leave anything in the cloud."""
    with nothing_left(project, cm):
        yield


def test_a_cloud_in_trouble(cm: CommandLine, project: Project) -> None:
    """Answers 429, 500 and 503, and a token that is revoked in the middle, do not keep a cluster from being made."""
    looks = cycle((0, 0, 0, 429, 0, 0, 0, 500, 0, 0, 0, 503))

    def fault(method: str, _: str) -> int:
        return next(looks) if method == "GET" else 0

    with (
        heat_behind_a_proxy(project, fault) as proxy,
        started(cm, "cluster", "create", "t", "--provider", "troubled", "-n", "1", "-y") as running,
    ):
        running.wait_for_words("port_0: create complete")
        for token in proxy.tokens.copy():
            project.revoke(token)
        answer = running.answer()
        assert answer.exit == 0, answer
        cm("cluster", "delete", "t", "-y")
        assert set(proxy.answered) == {429, 500, 503}


def test_a_cloud_that_stays_in_trouble(cm: CommandLine, project: Project) -> None:
    """A service that answers nothing but 503 ends the command with what it said, after some attempts."""
    with heat_behind_a_proxy(project, lambda method, path: 503) as proxy:
        answer = cm("cluster", "create", "t", "--provider", "troubled", "-n", "1", "-y", expect=1)

    assert "OpenStack answers 503: in trouble" in answer.stderr
    assert "try again later" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(proxy.answered) > 2


def test_a_node_that_can_not_reach_heat(cm: CommandLine, project: Project) -> None:
    """A signal that never comes holds nothing up: it is given in the node's place, and told; the stack is complete."""
    with network_cut_off_from_heat(project):
        answer = cm("cluster", "create", "t", "--provider", "deaf", "-n", "1", "-y", expect=None)
        status = project.member.stack_status("cm-t")
        cm("cluster", "delete", "t", "-y", expect=None)

    assert answer.exit == 0, answer
    assert "t-worker-1: warning: it could not tell Heat that it is done, cm does that for it" in answer.stderr
    assert status == "CREATE_COMPLETE"


def test_a_stack_that_can_not_be_deleted(cm: CommandLine, project: Project) -> None:
    """A delete that Heat has given up is tried again, and succeeds when what was in its way is gone."""
    network = project.member.connection.network
    with started(cm, "cluster", "create", "t", "--provider", "dc", "-n", "1", "-y") as running:
        running.wait_for_words("subnet: create complete")
        running.send(signal.SIGKILL)
    port = network.create_port(network_id=network.find_network("cm-t").id)
    with started(cm, "cluster", "delete", "t", "-y") as running:
        wait_for(lambda: project.member.stack_status("cm-t") == "DELETE_FAILED")
        network.delete_port(port)
        answer = running.answer()

    assert answer.exit == 0, answer


@contextmanager
def network_cut_off_from_heat(project: Project) -> Iterator[None]:
    """Make a network `deaf` whose nodes reach everything but the ports where Heat takes signals."""
    network = project.member.connection.network
    made = network.create_network(name="deaf")
    subnet = network.create_subnet(network_id=made.id, name="deaf", ip_version=4, cidr="10.77.0.0/24")
    external = {"network_id": network.find_network("public").id}
    router = network.create_router(name="deaf", external_gateway_info=external)
    network.add_interface_to_router(router, subnet_id=subnet.id)
    source = router.external_gateway_info["external_fixed_ips"][0]["ip_address"]
    rule = f"ip saddr {source} tcp dport {{ {PORTS['heat-cfn']}, {PORTS['heat']} }} drop"
    nft(f"table inet deaf {{\n chain input {{\n type filter hook input priority -10\n {rule}\n }}\n}}")
    try:
        yield
    finally:
        nft("delete table inet deaf")
        network.remove_interface_from_router(router, subnet_id=subnet.id)
        network.delete_router(router)
        network.delete_network(made)


def nft(rules: str) -> None:
    """Have the kernel take rules of nftables."""
    subprocess.run(["nft", "-f", "-"], input=rules + "\n", text=True, check=True)
