"""Whether what the credentials lead to is where a cluster is: "not found here" and "deleted" are two things."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloudmesh_cluster.core.errors import CmError, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import CloudProject
from cloudmesh_cluster.nodes.keys import blob, public_of, read_private
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.stack import Stack, marks_of
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.store import State


def own_marks(home: Home, cloud: Cloud, cluster: str) -> Marks:
    """Return the marks of a cluster, if it is in the project that is reached, or not known here.

    Raises:
        UsageError: it is in another project, or nothing says that it was ever in this one.

    """
    record = _record(home, cluster)
    if record is None:
        return Marks(cluster)
    if record.cloud is None:
        record = recognize(home, cloud, cluster) or record
    elif record.cloud.is_elsewhere(cloud.project):
        raise elsewhere(cluster, record.cloud, cloud)
    return Marks(cluster, record.cluster_id)


def recognize(home: Home, cloud: Cloud, cluster: str) -> ClusterRecord | None:
    """Make sure that a known cluster is in the project that is reached, and return its record, which now says so.

    Raises:
        UsageError: it is in another project, or nothing says that it was ever in this one.

    """
    record = _record(home, cluster)
    if record is None or (record.cloud is not None and _is_same(record.cloud, cloud.project)):
        return record
    if record.cloud is not None and record.cloud.is_elsewhere(cloud.project):
        raise elsewhere(cluster, record.cloud, cloud)
    # The cloud has another address now, or nobody has written down which it is: only the stack itself can prove it.
    stack = Stack(cloud, Marks(cluster)).of_this_name()
    if stack is None or not _is_of(home, cluster, record, stack):
        was = record.cloud or "a project that nobody has written down"
        raise UsageError(
            f"cluster {cluster!r} was made in {was}; in {cloud.project} it has no stack",
            hint=f"{_hint(cloud)}; if it was deleted there: cm cluster delete {cluster} --force",
        )
    known = replace(record, cloud=cloud.project, cluster_id=marks_of(stack).id)
    with State(home) as state:
        state.put_record(cluster, known)
    return known


def elsewhere(cluster: str, there: CloudProject, cloud: Cloud) -> UsageError:
    """Return what to raise when a cluster is in another project than the one that is reached."""
    return UsageError(f"cluster {cluster!r} is in {there}, but {_entry(cloud)} is {cloud.project}", hint=_hint(cloud))


def _hint(cloud: Cloud) -> str:
    return f"have {_entry(cloud)} lead there again"


def _entry(cloud: Cloud) -> str:
    return f"{cloud.name!r} in clouds.yaml" if cloud.name else "what OS_* says"


def _is_same(known: CloudProject, here: CloudProject) -> bool:
    return known.auth_url == here.auth_url and not known.is_elsewhere(here)


def _is_of(home: Home, cluster: str, record: ClusterRecord, stack: Any) -> bool:
    """Return whether a stack is a cluster's: it has its id, or, made by a version without ids, its login key."""
    if record.cluster_id:
        return marks_of(stack).id == record.cluster_id
    try:
        own = blob(public_of(read_private(home.login_key(cluster))))
        return own == blob(str(stack.parameters.get("login_public_key", "")))
    except CmError:  # without a key nothing is proven
        return False


def _record(home: Home, cluster: str) -> ClusterRecord | None:
    if not home.state_file.exists():
        return None
    with State(home) as state:
        return state.record(cluster) if cluster in state.cluster_names() else None
