"""Reports from the journal alone: chosen, escaped, honest about what was cut off, kept after the cluster is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult
from cloudmesh_cluster.core.redaction import known_secrets
from cloudmesh_cluster.operations.journal import Journal, new_operation
from cloudmesh_cluster.operations.queries.report import LINES_SHOWN, last_checks, report
from cloudmesh_cluster.state.store import State
from cloudmesh_cluster.views.pages import report_html
from tests.support.command_line import CommandLine

EVIL = "<script>alert('x')</script>"


@pytest.fixture
def journal(home: Path, cm_cache: Path) -> Home:
    """Return a home whose journal has a scale and a verify of a cluster that is gone."""
    where = Home(home, cm_cache)
    with State(where) as state:
        for kind in ("scale", "verify"):
            operation = new_operation("gone", kind, "{}")
            state.begin_operation(operation)
            journal = Journal(state, operation, lambda event: None)
            journal.keep_version("plugin hadoop 3.4.1")
            with journal.step("provision"), journal.progress("reach", node="gone-worker-1"):
                journal.warn(f"disk {EVIL}", node="gone-worker-1")
            state.add_checks(operation.id, [CheckResult(EVIL, "gone-worker-1", "a", "b", kind == "scale", 1.5)])
            logs = where.logs("gone", operation.id)
            logs.mkdir(parents=True)
            (logs / "gone-worker-1.boot.log").write_text("\n".join(f"line {n} {EVIL}" for n in range(100)))
            journal.flush()
            state.end_operation(operation.id, state="done" if kind == "scale" else "failed", error=EVIL)
    return where


def test_newest_change_is_chosen(journal: Home) -> None:
    """Without an id the report is of the last operation that changed something, also when its cluster is gone."""
    found = report(journal, "gone")

    assert found.operation.kind == "scale"
    assert [(bar.node, bar.step) for bar in found.timeline.bars] == [("gone-worker-1", "reach")]
    assert found.versions == (("", "plugin hadoop 3.4.1"),)
    assert found.warnings == (f"gone-worker-1: disk {EVIL}",)
    assert [check.ok for check in found.checks] == [True]
    [log] = found.logs
    assert (len(log.lines), log.lines[-1], log.cut) == (LINES_SHOWN, f"line 99 {EVIL}", True)


def test_other_operations_by_id(journal: Home) -> None:
    """An id names any operation; an unknown one, like an unknown cluster, is refused with what there is."""
    with State(journal) as state:
        verify = state.operations("gone")[-1].id
    assert report(journal, "gone", verify).operation.kind == "verify"
    with pytest.raises(NotFound) as refused:
        report(journal, "gone", "20200101T000000-create-0000")
    assert refused.value.kind == "operation"
    with pytest.raises(NotFound):
        report(journal, "never")
    with pytest.raises(NotFound):
        last_checks(journal, "gone")


def test_page_is_self_contained_and_escaped(journal: Home) -> None:
    """The page holds everything that the report has, asks for nothing, and none of it is markup."""
    page = report_html(report(journal, "gone"), version="1.2.3")

    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 4
    for wanted in ("scale gone", "gone-worker-1", "reach", "plugin hadoop 3.4.1", "line 99", "cm 1.2.3"):
        assert wanted in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page


def test_command_answers_rows_or_writes_a_page(journal: Home, tmp_path: Path) -> None:
    """`cm cluster report` prints the bars; with --html it writes the page, whole, and says where it can't."""
    cm = CommandLine(journal.root, journal.cache)

    [row] = json.loads(cm("cluster", "report", "gone", "-f", "json").stdout)
    assert (row["node"], row["step"], row["state"], row["decisive"]) == ("gone-worker-1", "reach", "done", True)

    page = tmp_path / "page.html"
    assert cm("cluster", "report", "gone", "--html", str(page)).stdout == ""
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "No such file" in cm("cluster", "report", "gone", "--html", "/no/such/page.html", expect=2).stderr
    assert "cm cluster history gone" in cm("cluster", "report", "gone", "--operation", "x", expect=2).stderr


def test_kept_events_are_not_told(home: Path, cm_cache: Path) -> None:
    """What is only for the report reaches the journal and no listener."""
    heard: list[Event] = []
    with State(Home(home, cm_cache)) as state:
        operation = new_operation("t", "create", "{}")
        state.begin_operation(operation)
        journal = Journal(state, operation, heard.append)
        journal.keep_version("cm 1", node="t-master")
        journal.flush()

        assert heard == []
        assert [(event.step, event.node, event.message) for _, event in state.events("t")] == [
            ("versions", "t-master", "cm 1")
        ]


PLANTED = {
    "PGPASSWORD=hunter22": "hunter22", "AWS AKIAIOSFODNN7EXAMPLE": "AKIAIOSFODNN7EXAMPLE",
    "curl -u bob:hunter33 x": "hunter33", "https://bob:hunter44@repo/": "hunter44", "mysql -phunter55": "hunter55",
    "Authorization: Bearer abcdefghijklmnop99": "abcdefghijklmnop99", "said c0ffee-known-secret": "c0ffee-known-secret",
}  # fmt: skip


def test_no_secret_is_in_events_and_reports(home: Path, cm_cache: Path, tmp_path: Path) -> None:
    """What looks like a secret, and the cluster's own, is in no event, report or history; others can't read it."""
    where = Home(home, cm_cache)
    secret = where.secrets("gone", "spark") / "key"
    secret.parent.mkdir(parents=True)
    secret.write_text("c0ffee-known-secret\n")
    with State(where) as state:
        operation = new_operation("gone", "create", "{}")
        state.begin_operation(operation)
        heard: list[Event] = []
        journal = Journal(state, operation, heard.append)
        journal.hide(known_secrets(where, "gone"))
        for text in PLANTED:
            journal.emit(Event("output", "script x", "gone-master", text))
            journal.warn(text)
            state.add_events(operation.id, [Event("failed", f"script {text}", "gone-master", f"of old: {text}")])
            state.add_checks(operation.id, [CheckResult("c", "gone-master", "a", text, False, 1.5)])
        journal.flush()
        kept = state.events("gone")
        logs = where.logs("gone", operation.id)
        logs.mkdir(parents=True)
        (logs / "gone-master.x.log").write_text("\n".join(PLANTED))
        state.end_operation(operation.id, state="failed", error=" ".join(PLANTED))
    cm = CommandLine(home, cm_cache)
    page = tmp_path / "page.html"
    cm("cluster", "report", "gone", "--html", str(page))
    texts = [page.read_text(), *(cm("cluster", *words, "-f", "json").stdout for words in (("events", "gone"),
             ("report", "gone"), ("history", "gone")))]  # fmt: skip
    texts += [event.message for _, event in kept if event.kind != "failed"]

    assert [(secret, text) for secret in PLANTED.values() for text in texts if secret in text] == []
    assert page.stat().st_mode & 0o777 == 0o600
    assert "c0ffee-known-secret" not in "".join(event.message for event in heard)
    assert "hunter22" in heard[0].message  # who watches sees what was printed, but for the cluster's own secrets
