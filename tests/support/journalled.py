"""Clusters that only the journal knows: enough for everything that asks no node."""

from __future__ import annotations

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, Node, Profile
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.store import State


def add_cluster(home: Home, name: str, *, workers: int = 2) -> Cluster:
    """Write a cluster into the journal as if it had been created, and return it."""
    nodes = [Node(f"{name}-master", "master", 0, "running", "10.0.0.1")]
    nodes += [Node(f"{name}-worker-{i}", "worker", i, "running", f"10.0.0.{i + 1}") for i in range(1, workers + 1)]
    cluster = Cluster(name, "ready", "local", "default", "2026-01-01T00:00:00+00:00", tuple(nodes))
    with State(home) as state:
        state.add_cluster(cluster, ClusterRecord(Profile("default", "default.yaml"), "local", {}, "10.0.0.0/24"))
    return cluster
