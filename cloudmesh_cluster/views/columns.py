"""The columns of what `cm` lists."""

from __future__ import annotations

from typing import Any

from cloudmesh_cluster.core.model import Cluster

NODE_COLUMNS = ("name", "role", "index", "state", "private_ip", "public_ip", "provider_id")
NODE_DETAILS = (*NODE_COLUMNS, "host_key_from")
REMOTE_CLUSTER_COLUMNS = ("name", "state", "provider", "profile", "nodes", "created_at")
CLUSTER_COLUMNS = (*REMOTE_CLUSTER_COLUMNS, "verified", "checks", "failed_checks")
CHECK_COLUMNS = ("check", "node", "expected", "actual", "ok", "seconds")
RESULT_COLUMNS = ("node", "exit", "stdout", "stderr", "seconds")
STATUS_COLUMNS = ("node", "plugin", "ok", "status")
HISTORY_COLUMNS = ("operation", "cluster", "kind", "state", "began_at", "ended_at", "error")
EVENT_COLUMNS = ("at", "operation", "kind", "step", "node", "seconds", "message")
SCRIPT_COLUMNS = ("order", "role", "name", "digest", "written_at", "state", "result")


def cluster_row(cluster: Cluster) -> dict[str, Any]:
    """Return a cluster as the row of the contract, where `nodes` is their number."""
    verdict = cluster.verdict
    return {name: getattr(cluster, name) for name in REMOTE_CLUSTER_COLUMNS} | {
        "nodes": len(cluster.nodes),
        "verified": cluster.verified,
        "checks": verdict.checks if verdict else None,
        "failed_checks": verdict.failed if verdict else None,
    }
