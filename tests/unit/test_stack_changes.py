"""What refers to a resource that would go with a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cloudmesh_cluster.providers.openstack.changes import dangling, references
from cloudmesh_cluster.providers.openstack.standing import of_stack
from cloudmesh_cluster.providers.openstack.template import shrunk
from tests.unit.test_template import loaded, stack


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"get_resource": "a"}, ["a"]),
        ({"get_attr": ["a", "first_address"]}, ["a"]),
        ({"depends_on": "a"}, ["a"]),
        ({"depends_on": ["a", "b"]}, ["a", "b"]),
        ({"properties": {"x": [{"str_replace": {"params": {"y": {"get_resource": "a"}}}}]}}, ["a"]),
        ({"properties": {"name": "a", "get_param": "a"}}, []),
    ],
)
def test_references(body: dict[str, Any], names: list[str]) -> None:
    """Resources are referred to by get_resource, get_attr and depends_on, however deep."""
    assert list(references(body)) == names


def test_a_cluster_refers_to_nothing_that_goes() -> None:
    """Of cm's own template any workers can go: nothing that stays refers to them."""
    before = loaded(stack(range(5)))

    for gone in ([4], [1], [1, 2, 3, 4]):
        assert list(dangling(before, shrunk(before, indices=gone))) == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        *((f"{action}_COMPLETE", "") for action in ("CREATE", "UPDATE", "RESUME", "CHECK", "SNAPSHOT", "ADOPT")),
        ("UPDATE_FAILED", ""),
        ("SUSPEND_COMPLETE", "openstack stack resume cm-t"),
        ("SUSPEND_FAILED", "openstack stack resume cm-t"),
        ("CHECK_IN_PROGRESS", "when it has ended: openstack stack show cm-t"),
        ("DELETE_FAILED", "openstack stack show cm-t says why it is still there"),
    ],
)
def test_what_heat_would_refuse(status: str, said: str) -> None:
    """Heat changes no stack that is suspended, deleted or being changed, however complete; any other one it does."""
    found = SimpleNamespace(stack_name="cm-t", stack_status=status)

    assert [problem.hint for problem in of_stack(found)] == ([said] if said else [])


def test_an_addition_that_refers_to_a_worker() -> None:
    """What somebody has added and refers to a server that would go is named, and to what."""
    before = loaded(stack())
    before["resources"]["volume"] = {"type": "OS::Cinder::VolumeAttachment", "properties": {
        "instance_uuid": {"get_resource": "server_2"}}}  # fmt: skip
    before["outputs"] = {"address": {"value": {"get_attr": ["port_2", "fixed_ips"]}}}

    [one, other] = dangling(before, shrunk(before, indices=[2]))
    assert (one.where, one.what) == ("resources.volume", "refers to server_2, which would go")
    assert (other.where, other.what) == ("outputs.address", "refers to port_2, which would go")
    assert list(dangling(before, shrunk(before, indices=[1]))) == []
