"""The records that the rows of the journal are read as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cloudmesh_cluster.core.model import CloudProject, Profile, ScriptExpectation

WORKING = ("ready", "unhealthy", "degraded")
"""States of a cluster that is whole: all checks passed, some failed, or something of it was stopped."""
LOOKING = ("verify", "status")
"""Operations that change nothing, so that one which was killed leaves nothing to finish."""
CHANGING = ("scale", "replace", "install", "uninstall", "start", "stop")
"""Operations during which a cluster is not what was verified before."""
RESUMABLE = ("running", "failed", "interrupted")
"""States of an operation that can be gone on with; one that says it runs while nobody holds the lock was killed."""


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
