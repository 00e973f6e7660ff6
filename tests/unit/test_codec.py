"""Requests and records survive the journal: dataclasses to JSON and back."""

from __future__ import annotations

import json

import pytest

from cloudmesh_cluster.core.codec import decode, encode
from cloudmesh_cluster.core.model import (
    Check,
    CloudProject,
    Expectation,
    Node,
    PluginUse,
    Profile,
    RoleScript,
    RoleSpec,
    ScriptExpectation,
    Volume,
)
from cloudmesh_cluster.operations.delete import DeleteRequest
from cloudmesh_cluster.operations.scale import ReplaceRequest, ScaleRequest
from cloudmesh_cluster.operations.services import PluginsRequest
from cloudmesh_cluster.operations.write import WriteRequest
from cloudmesh_cluster.state.records import ClusterRecord

PROFILE = Profile(
    name="p",
    source="p.yaml",
    provider="local",
    mesh="master-to-workers",
    worker=RoleSpec(count=3, cpus=0.5, memory=512, volumes=(Volume(10, "/data"),)),
    plugins=(PluginUse("hadoop", {"replication": 2, "source": None, "tags": ["a", "b"]}),),
    scripts=(RoleScript("all", "a.sh", b"\xff\x00binary\n"),),
    checks=(Check("c", run="true", expect=Expectation(stdout="^a$", count=2), within=1.5),),
)


HERE = CloudProject("https://cloud:5000/v3", "RegionOne", "p1", "demo", "u1")


@pytest.mark.parametrize(
    "value",
    [
        PROFILE,
        ClusterRecord(PROFILE, "local", {"network": "10.0.0.0/24"}, "10.0.0.0/24", ("ssh-ed25519 AAAA",)),
        ClusterRecord(PROFILE, "openstack", {}, "10.0.0.0/24", cluster_id="0123", cloud=HERE),
        ScriptExpectation(3, None, "test -e /x"),
        ScaleRequest(add=(Node("t-worker-2", "worker", 2, "planned", "10.0.0.3", provider_id="x"),)),
        ScaleRequest(remove=("t-worker-1",)),
        ReplaceRequest("t-master"),
        DeleteRequest(force=True),
        PluginsRequest(("hadoop",)),
        WriteRequest("t", "worker", b"\xe9\n", "x.sh", undo=b"rm", on_failure="undo", timeout=2.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_written_is_read_again(value: object) -> None:
    """A dataclass comes back equal: nested ones, bytes that are no text, tuples, mappings and None."""
    assert value == decode(type(value), encode(value))


def test_a_record_of_a_version_without_ids_is_read() -> None:
    """What was kept of a cluster before clusters had ids and projects is read: it has neither."""
    kept = json.loads(encode(ClusterRecord(PROFILE, "openstack", {}, "10.0.0.0/24", cluster_id="1", cloud=HERE)))
    del kept["cluster_id"], kept["cloud"]

    assert decode(ClusterRecord, json.dumps(kept)) == ClusterRecord(PROFILE, "openstack", {}, "10.0.0.0/24")


def test_equal_values_have_equal_text() -> None:
    """The JSON does not depend on the order in which a mapping was filled."""
    first, second = PluginUse("x", {"a": 1, "b": 2}), PluginUse("x", {"b": 2, "a": 1})

    assert encode(first) == encode(second)


def test_fields_that_are_no_more_are_left_out() -> None:
    """What a former version wrote and this one does not know is no obstacle; what is missing has its default."""
    text = json.dumps({"force": True, "since": "1999"})

    assert DeleteRequest(force=True) == decode(DeleteRequest, text)
    assert DeleteRequest(force=False) == decode(DeleteRequest, "{}")
