"""What is others' stays: things with our names, other projects of the same user, other clusters of the same name.

Nothing boots in the cloud of these tests: `cm` is killed as soon as the servers are there.
"""

from __future__ import annotations

import json
import secrets
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.marks import Marks, new_cluster_id
from cloudmesh_cluster.nodes.keys import generate
from cloudmesh_cluster.state.store import State
from tests.support.cloud_project import Project, cm_of, own_project, second_project
from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import Devcloud, wait_for
from tests.support.journal_watch import started

SETTINGS = "{{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.tiny, signal: ssh}}"


@pytest.fixture(scope="module")
def project(fake_devcloud: Devcloud) -> Iterator[Project]:
    """Return a project of these tests in the cloud where nothing boots."""
    with tempfile.TemporaryDirectory(prefix="cm-") as folder, own_project(fake_devcloud, Path(folder)) as made:
        yield made


@pytest.fixture(scope="module")
def other(project: Project) -> Iterator[Project]:
    """Return another project of the same user."""
    with second_project(project, "two") as made:
        yield made


@pytest.fixture
def cm(project: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` that knows the project as provider `dc`."""
    with cm_of(project, cm_cache, f"dc: {SETTINGS.format(cloud=project.name)}\n") as made:
        yield made


@pytest.fixture
def colleague(project: Project, other: Project, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` of another home, which knows both projects: the first as `dc`, the other one as `two`."""
    providers = "".join(
        f"{name}: {SETTINGS.format(cloud=cloud)}\n" for name, cloud in (("dc", project.name), ("two", other.name))
    )
    with cm_of(project, cm_cache, providers) as made:
        yield made


def a_name() -> str:
    """Return the name of a cluster."""
    return f"o{secrets.token_hex(3)}"


def made(cm: CommandLine, name: str, project: Project, provider: str = "dc", *words: str) -> Marks:
    """Make the stack of a cluster, and have it in the journal as one that is ready."""
    with started(cm, "cluster", "create", name, "--provider", provider, "-n", "1", "-y", *words) as running:

        def is_complete() -> bool:
            assert running.process.poll() is None, running.answer()
            return project.member.stack_status(f"cm-{name}") == "CREATE_COMPLETE"

        wait_for(is_complete, patience=600)
        running.send(signal.SIGKILL)
        running.answer()
    with State(Home(cm.home, cm.cache)) as state:
        for operation in state.operations(name):
            state.end_operation(operation.id, state="done")
        state.set_cluster_state(name, "ready")
        return Marks(name, state.cluster_id(name))


def names(cm: CommandLine) -> list[str]:
    """Return the clusters that are known to a home."""
    return [row["name"] for row in json.loads(cm("cluster", "list", "-f", "json").stdout)]


def test_what_has_only_our_names_stays(cm: CommandLine, project: Project) -> None:
    """A delete takes what has the cluster's mark, Heat's strays too; what others have called so is left, in silence."""
    name, network = a_name(), project.member.connection.network
    foreign_group = network.create_security_group(name=f"cm-{name}", description="rules of our web servers")
    marks = made(cm, name, project)
    own_network = next(each for each in network.networks(project_id=project.identity) if each.name == f"cm-{name}")
    foreign_network = network.create_network(name=f"cm-{name}")
    foreign = [
        foreign_group,
        foreign_network,
        network.create_router(name=f"cm-{name}"),
        network.create_port(network_id=foreign_network.id, name=f"{name}-worker-7"),
    ]
    stray = network.create_port(network_id=own_network.id, name=f"{name}-worker-8", description=marks.text)
    cm("cluster", "delete", name, "-y")
    left = {identity for _, identity in project.everything()}

    assert {each.id for each in foreign} <= left
    assert stray.id not in left
    assert own_network.id not in left
    assert project.member.stack_status(f"cm-{name}") is None
    for each in reversed(foreign):
        getattr(network, f"delete_{type(each).__name__.lower().replace('securitygroup', 'security_group')}")(each)


def test_a_key_pair_of_another_project_stays(
    cm: CommandLine, colleague: CommandLine, project: Project, other: Project
) -> None:
    """Two projects of one user can have clusters of one name; whatever is done in one leaves the other's key pair."""
    name, compute = a_name(), other.member.connection.compute
    made(cm, name, project)
    before = {each.name for each in compute.keypairs()}

    assert json.loads(colleague("gc", "--provider", "two", "-f", "json").stdout) == []
    colleague("gc", "--provider", "two", "--delete", "-y")
    made(colleague, name, other, "two")
    assert len({each.name for each in compute.keypairs()} - before) == 1
    colleague("cluster", "delete", name, "-y")
    assert {each.name for each in compute.keypairs()} == before


def test_a_stack_of_another_cluster_of_that_name_stays(
    cm: CommandLine, colleague: CommandLine, project: Project
) -> None:
    """Who deletes a cluster whose stack is gone leaves the stack that another home has made since by that name."""
    name = a_name()
    made(cm, name, project)
    project.member.delete_stack(f"cm-{name}")
    made(colleague, name, project)
    servers = sorted(each.id for each in project.member.connection.compute.servers())
    refused = cm("cluster", "scale", name, "+1", expect=2)
    cm("cluster", "delete", name, "-y")

    assert f"stack cm-{name} is gone: somebody has deleted it" in refused.stderr
    assert names(cm) == []
    assert project.member.stack_status(f"cm-{name}") == "CREATE_COMPLETE"
    assert sorted(each.id for each in project.member.connection.compute.servers()) == servers


def test_another_project_behind_the_same_entry(cm: CommandLine, project: Project, other: Project) -> None:
    """What is not found in another project is not gone: every command says where it is, and nothing is lost."""
    name, entry = a_name(), f"moving-{secrets.token_hex(3)}"
    project.give_entry(entry)
    marks = made(cm, name, project, "dc", "--os-cloud", entry)
    project.give_entry(entry, auth={"project_id": other.identity})
    refused = [
        cm("cluster", *words, expect=2).stderr
        for words in (("delete", name, "-y"), ("nodes", name), ("stop", name), ("start", name), ("scale", name, "+1"))
    ]
    where = f"cluster '{name}' is in project {project.name} ({project.identity})"
    assert [where in said for said in refused] == [True] * len(refused), refused
    assert names(cm) == [name]
    assert (cm.home / "clusters" / name / "id_ed25519").exists()

    forget_where(cm, name)
    unknown = cm("cluster", "delete", name, "-y", expect=2).stderr
    assert other.identity in unknown
    assert "it has no stack" in unknown

    project.give_entry(entry)
    cm("cluster", "stop", name)
    with State(Home(cm.home, cm.cache)) as state:
        record = state.record(name)
    assert record.cloud is not None
    assert (record.cloud.id, record.cluster_id) == (project.identity, marks.id)

    project.give_entry(entry, auth={"project_id": other.identity})
    forced = cm("cluster", "delete", name, "--force", "-y", expect=4)
    assert f"left: stack cm-{name}" in forced.stderr
    assert names(cm) == []
    project.member.delete_stack(f"cm-{name}")


def forget_where(cm: CommandLine, name: str) -> None:
    """Make the record of a cluster one of a version that wrote down neither an id nor a project."""
    with State(Home(cm.home, cm.cache)) as state:
        state.put_record(name, replace(state.record(name), cloud=None, cluster_id=""))


def test_garbage_without_a_stack(cm: CommandLine, project: Project) -> None:
    """What has the marks of an unknown cluster and no stack is listed and deleted, and nothing of its name alone."""
    marks, sdk = Marks(a_name(), new_cluster_id()), project.member.connection
    network = sdk.network.create_network(name=marks.stack, description=marks.text)
    subnet = sdk.network.create_subnet(network_id=network.id, cidr="10.92.0.0/24", ip_version=4)
    router = sdk.network.create_router(name=marks.stack, description=marks.text)
    sdk.network.add_interface_to_router(router, subnet_id=subnet.id)
    sdk.network.create_port(network_id=network.id, description=marks.text)
    volume = sdk.block_storage.create_volume(size=1, metadata=marks.metadata)
    sdk.block_storage.wait_for_status(volume)
    key = generate("cm-login").public
    for name in (f"{marks.name}-{project.identity}", marks.stack):
        sdk.compute.create_keypair(name=name, public_key=key)
    found = json.loads(cm("gc", marks.cluster, "-f", "json").stdout)
    cm("gc", "--delete", "-y", marks.cluster)
    left = [each.name for each in sdk.compute.keypairs() if each.name.startswith(marks.stack)]
    sdk.compute.delete_keypair(marks.stack)

    assert [row["kind"] for row in found] == ["volume", "port", "router", "network", "keypair"]
    assert {row["cluster_id"] for row in found} == {marks.id}
    assert json.loads(cm("gc", marks.cluster, "-f", "json").stdout) == []
    assert left == [marks.stack]
    assert network.id not in {identity for _, identity in project.everything()}
