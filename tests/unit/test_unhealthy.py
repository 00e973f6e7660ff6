"""What the last verification found is part of what a cluster is. No node is needed: the journal knows."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from cloudmesh_cluster import Cluster
from cloudmesh_cluster.cli.main import main
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult, Profile, Verdict
from cloudmesh_cluster.operations.journal import new_operation
from cloudmesh_cluster.operations.queries.inspect import clusters
from cloudmesh_cluster.operations.steps.preconditions import require_cluster
from cloudmesh_cluster.state.locks import cluster_lock
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.store import State
from tests.support.journalled import add_cluster

BAD = Verdict("2026-02-01T10:00:00+00:00", checks=19, failed=2)
GOOD = Verdict("2026-02-01T11:00:00+00:00", checks=19, failed=0)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a home with a cluster `t` of a cloud, which `list` does not ask."""
    monkeypatch.setenv("CM_HOME", str(tmp_path / "home"))
    home = Home(tmp_path / "home", tmp_path / "cache")
    add_cluster(home, "t")
    with State(home) as state:
        state.put_record("t", ClusterRecord(Profile("default", "default.yaml"), "openstack", {}, "10.0.0.0/24"))
    return home


def test_a_cluster_is_what_its_last_verification_found(own_home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """A verification that failed makes it unhealthy, one that passed ready; list says when, and how many failed."""
    with State(own_home) as state:
        state.put_verdict("t", BAD)
    assert main(["cluster", "list", "-f", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["state"], row["verified"], row["checks"], row["failed_checks"]) == ("unhealthy", BAD.at, 19, 2)
    assert main(["cluster", "list"]) == 0
    assert "unhealthy: 2 of 19 checks failed" in capsys.readouterr().out
    (found,) = Cluster.list(home=own_home)
    assert found.name == "t"

    with State(own_home) as state:
        state.put_verdict("t", GOOD)
    assert main(["cluster", "list", "-f", "csv", "-c", "state", "-c", "verified", "-c", "failed_checks"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"ready,{GOOD.at},0"


def test_a_verification_does_not_mend_what_is_half_done(own_home: Home) -> None:
    """A cluster that failed or is stopped stays so, whatever the checks found."""
    for word in ("failed", "stopped"):
        for verdict in (BAD, GOOD):
            with State(own_home) as state:
                state.set_cluster_state("t", word)
                state.put_verdict("t", verdict)
                assert state.cluster("t").state == word


@pytest.mark.parametrize(("verdict", "word"), [(BAD, "unhealthy"), (GOOD, "ready"), (None, "ready")])
def test_what_was_rolled_back_is_as_it_was(own_home: Home, verdict: Verdict | None, word: str) -> None:
    """After a change that was undone an unhealthy cluster is unhealthy."""
    with State(own_home) as state:
        if verdict:
            state.put_verdict("t", verdict)
        state.set_cluster_state("t", "failed")
        state.set_whole("t")
        assert state.cluster("t").state == word


def test_what_takes_ready_clusters_takes_unhealthy_ones(own_home: Home) -> None:
    """A cluster with failed checks can be scaled and mended; one that is half made can't."""
    refuse = require_cluster("t", states=("ready",))
    with State(own_home) as state:
        for word in ("ready", "unhealthy", "degraded"):
            state.set_cluster_state("t", word)
            refuse(state)
        for word in ("failed", "stopped", "deleting"):
            state.set_cluster_state("t", word)
            with pytest.raises(UsageError, match=f"is {word}, not ready"):
                refuse(state)


@pytest.mark.parametrize(("kind", "word"), [("scale", "changing"), ("replace", "changing"), ("write", "ready")])
def test_a_cluster_that_is_being_changed_is_not_ready(own_home: Home, kind: str, word: str) -> None:
    """While nodes or plugins come and go, the cluster is not what was verified; a script changes no node's place."""
    with cluster_lock(own_home, "t", operation=kind), State(own_home) as state:
        state.begin_operation(new_operation("t", kind, "{}"))
        assert [each.state for each in clusters(own_home)] == [word]
    assert [each.state for each in clusters(own_home)] == ["interrupted"]


def test_a_journal_that_called_it_ready_is_set_right(own_home: Home) -> None:
    """A journal of the version before opens; what its last verification found says whether the cluster is ready."""
    operation = new_operation("t", "verify", "{}")
    results = [CheckResult("port", "t-master", "answers", "refused", ok, 0.1) for ok in (True, False)]
    with State(own_home) as state:
        state.begin_operation(operation)
        state.add_checks(operation.id, results)
        state.end_operation(operation.id, state="done")
    with sqlite3.connect(own_home.state_file) as db:
        db.execute("ALTER TABLE clusters DROP COLUMN verdict")
        db.execute("PRAGMA user_version=2")

    with State(own_home) as state:
        found = state.cluster("t")
    assert found.state == "unhealthy"
    assert found.verdict is not None
    assert (found.verdict.checks, found.verdict.failed) == (2, 1)
