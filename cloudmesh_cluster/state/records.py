"""What the journal keeps: its tables, and the records that its rows are read as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cloudmesh_cluster.core.model import CloudProject, Profile, ScriptExpectation

SCHEMA_VERSION = 3
WORKING = ("ready", "unhealthy", "degraded")
"""States of a cluster that is whole: all checks passed, some failed, or something of it was stopped."""
LOOKING = ("verify", "status")
"""Operations that change nothing, so that one which was killed leaves nothing to finish."""
CHANGING = ("scale", "replace", "install", "uninstall", "start", "stop")
"""Operations during which a cluster is not what was verified before."""
RESUMABLE = ("running", "failed", "interrupted")
"""States of an operation that can be gone on with; one that says it runs while nobody holds the lock was killed."""

SCHEMA = """
CREATE TABLE clusters (
    name TEXT PRIMARY KEY, state TEXT NOT NULL, provider TEXT NOT NULL, profile TEXT NOT NULL,
    created_at TEXT NOT NULL, record TEXT NOT NULL, verdict TEXT);
CREATE TABLE nodes (
    cluster TEXT NOT NULL REFERENCES clusters(name) ON DELETE CASCADE, name TEXT NOT NULL, role TEXT NOT NULL,
    idx INTEGER NOT NULL, state TEXT NOT NULL, private_ip TEXT NOT NULL, public_ip TEXT, provider_id TEXT,
    host_keys TEXT NOT NULL DEFAULT '[]', public_key TEXT NOT NULL DEFAULT '', host_key_from TEXT,
    PRIMARY KEY (cluster, idx));
CREATE TABLE operations (
    id TEXT PRIMARY KEY, cluster TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, pid INTEGER NOT NULL,
    began_at TEXT NOT NULL, ended_at TEXT, request TEXT NOT NULL, error TEXT NOT NULL DEFAULT '');
CREATE TABLE steps (
    id INTEGER PRIMARY KEY, operation TEXT NOT NULL REFERENCES operations(id), name TEXT NOT NULL,
    state TEXT NOT NULL, undo TEXT, began_at TEXT NOT NULL, ended_at TEXT);
CREATE TABLE scripts (
    id INTEGER PRIMARY KEY, cluster TEXT NOT NULL REFERENCES clusters(name) ON DELETE CASCADE,
    role TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, content BLOB NOT NULL, written_at TEXT NOT NULL,
    state TEXT NOT NULL, expect TEXT NOT NULL, operation TEXT NOT NULL);
CREATE TABLE runs (
    script INTEGER NOT NULL REFERENCES scripts(id) ON DELETE CASCADE, node TEXT NOT NULL, exit INTEGER,
    seconds REAL NOT NULL, at TEXT NOT NULL, PRIMARY KEY (script, node));
CREATE TABLE checks (
    operation TEXT NOT NULL REFERENCES operations(id), name TEXT NOT NULL, node TEXT NOT NULL,
    expected TEXT NOT NULL, actual TEXT NOT NULL, ok INTEGER NOT NULL, seconds REAL NOT NULL);
CREATE TABLE events (
    operation TEXT NOT NULL REFERENCES operations(id), at TEXT NOT NULL, kind TEXT NOT NULL, step TEXT NOT NULL,
    node TEXT NOT NULL, message TEXT NOT NULL, seconds REAL);
CREATE INDEX events_of_operation ON events(operation);
CREATE INDEX operations_of_cluster ON operations(cluster);
"""
# Before version 3 a cluster stayed `ready` whatever its last verification had found.
TO_VERSION = {
    2: "ALTER TABLE nodes ADD COLUMN host_key_from TEXT",
    3: """
ALTER TABLE clusters ADD COLUMN verdict TEXT;
UPDATE clusters SET verdict = (
    SELECT json_object('at', o.ended_at, 'checks', count(*), 'failed', sum(NOT c.ok))
    FROM operations o JOIN checks c ON c.operation = o.id
    WHERE o.cluster = clusters.name AND o.ended_at >= clusters.created_at AND o.state = 'done'
    GROUP BY o.id ORDER BY o.began_at DESC LIMIT 1);
UPDATE clusters SET state = 'unhealthy' WHERE state = 'ready' AND json_extract(verdict, '$.failed') > 0;
""",
}
"""What makes a journal of the version before one of this version."""


@dataclass(frozen=True)
class ClusterRecord:
    """What is kept of a cluster beyond its row, so that no later operation needs the profile's file.

    Args:
        profile: as it was resolved for this cluster.
        provider_type: "local", "openstack" or "baremetal".
        provider_settings: as in `providers.yaml`.
        network: the nodes' network as CIDR.
        bootstrap_keys: the public keys that nodes were booted with; none of them may open anything.
        cluster_id: random, made once: what the cluster is known by wherever something of it is; empty for clusters of
            versions that knew none.
        cloud: the project that it is in; None where nodes are not a cloud's, or it was made by such a version.

    """

    profile: Profile
    provider_type: str
    provider_settings: dict[str, object]
    network: str
    bootstrap_keys: tuple[str, ...] = ()
    cluster_id: str = ""
    cloud: CloudProject | None = None


@dataclass(frozen=True)
class Operation:
    """A row of the history; `state` is one of RESUMABLE, done, deleted, or what an undo came to ("rolled back"...)."""

    id: str
    cluster: str
    kind: str
    state: str
    pid: int
    began_at: str
    ended_at: str | None
    request: dict[str, Any]
    error: str


@dataclass(frozen=True)
class Step:
    """A step of an operation; `state` is begun, done, failed, undoing or undone."""

    id: int
    name: str
    state: str
    undo: dict[str, Any] | None


@dataclass(frozen=True)
class WrittenScript:
    """A script that an operation has stored; `state` is running or remembered."""

    id: int
    role: str
    name: str
    digest: str
    content: bytes
    written_at: str
    state: str
    operation: str
    expect: ScriptExpectation = ScriptExpectation()
