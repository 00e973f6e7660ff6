"""Errors in words and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudmesh_cluster.checks.causes import Cause, cause_of
from cloudmesh_cluster.cli.failures import exit_code, explain
from cloudmesh_cluster.core.errors import (
    ChecksFailed,
    ClusterBusy,
    CmError,
    Interrupted,
    InvalidInput,
    LeftBehind,
    LockHolder,
    NotFound,
    OperationFailed,
    RemoteFailed,
)
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult, CommandResult, Leftover, Problem
from cloudmesh_cluster.operations.journal import Journal, new_operation
from cloudmesh_cluster.operations.queries.timeline import timeline
from cloudmesh_cluster.operations.steps.wiring import raise_failed
from cloudmesh_cluster.state.store import State
from cloudmesh_cluster.views.progress.progress import Told

ANSWERS = [
    CommandResult("t-worker-1", 0, "fine\n", "", 0.1),
    CommandResult("t-worker-2", 7, "", "one\nline 3: boom\n", 0.1),
    CommandResult("t-worker-3", -1, "", "timed out after 5 s\n", 5.0),
]
VERDICTS = [
    CheckResult("names", "t-master", "10.0.0.1", "127.0.1.1", ok=False, seconds=0.1),
    CheckResult("scripts", "t-master", "exit 0", "exit 0", ok=True, seconds=0.1),
]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (NotFound("cluster", "hadop", ["hadoop"]), 2, ["cm: no cluster named 'hadop'", "  did you mean 'hadoop'?"]),
        (
            InvalidInput([Problem("a.yaml:1:2: roles", "what"), Problem("a.yaml:3:4: x", "unknown", "y?")]),
            2,
            ["cm: a.yaml:1:2: roles: what", "a.yaml:3:4: x: unknown (y?)"],
        ),
        (ClusterBusy("t", LockHolder(42, "scale", "10:00")), 2, ["busy: scale (process 42, since 10:00)"]),
        (
            RemoteFailed("script x failed", ANSWERS, hint="look"),
            1,
            ["cm: script x failed", "  t-worker-2: exit 7", "    line 3: boom", "  t-worker-3: no answer", "  look"],
        ),
        (ChecksFailed(VERDICTS), 3, ["1 of 2 checks failed", "names on t-master: expected 10.0.0.1, found 127.0.1.1"]),
        (
            OperationFailed("op", RemoteFailed("script x failed", ANSWERS), logs="/logs/op", outcome="rolled back"),
            1,
            ["cm: script x failed", "  t-worker-2: exit 7", "  outcome: rolled back", "  logs: /logs/op"],
        ),
        (OperationFailed("op", ChecksFailed(VERDICTS), logs="/l", outcome="kept"), 1, ["found 127.0.1.1", "kept"]),
        (
            LeftBehind([Leftover("process", "123", "kill 123"), Leftover("mount", "/x")]),
            4,
            ["  left: process 123 (remove it: kill 123)", "  left: mount /x"],
        ),
        (Interrupted("create interrupted, rolled back"), 130, ["cm: create interrupted, rolled back"]),
        (KeyboardInterrupt(), 130, ["cm: interrupted"]),
        (CmError("plain"), 1, ["cm: plain"]),
        (PermissionError(13, "Permission denied", "/x"), 1, ["cm: /x: Permission denied"]),
        (ZeroDivisionError("division by zero"), 1, ["cm: ZeroDivisionError: division by zero", "--debug"]),
    ],
)
def test_errors_become_words_and_codes(error: BaseException, code: int, says: list[str]) -> None:
    """Each error says what, where and what next, and has its exit code of the contract."""
    text = explain(error, debug=False)

    assert exit_code(error) == code
    assert text.startswith("cm: ")
    assert text.endswith("\n")
    assert all(part in text for part in says)
    assert "fine" not in text


def test_control_characters_of_nodes_are_shown() -> None:
    """What a node printed cannot steer the terminal through an error message."""
    answer = CommandResult("t-master", 1, "", "\x1b]0;evil\x07\n", 0.1)

    assert "\x1b" not in explain(RemoteFailed("x", [answer]), debug=False)


def test_many_failing_nodes_are_not_all_listed() -> None:
    """Equal answers share a place; after five different ones the rest is a number."""
    answers = [CommandResult(f"n{i}", 1, "", f"no {i // 2}\n", 0.1) for i in range(64)]
    said = explain(RemoteFailed("x", answers), debug=False)

    assert "  n[0-1]: exit 1\n    no 0\n" in said
    assert "... and 27 other answers" in said


def test_the_cause_leads_and_is_said_once() -> None:
    """What the failing line printed is the message, with the line and all nodes; the details don't repeat it."""
    printed = "reading\ncp: cannot stat '/srv/dta': No such file\ncm: broken: line 2: cp /srv/dta x: exit status 1\n"
    answers = [CommandResult(f"t-worker-{i}", 1, "", printed, 0.1) for i in (1, 2)]
    with pytest.raises(RemoteFailed) as failed:
        raise_failed("script broken", answers)

    message = "script broken failed on t-worker-[1-2], line 2: cp: cannot stat '/srv/dta': No such file"
    assert str(failed.value) == message
    assert explain(failed.value, debug=False) == f"cm: {message}\n  t-worker-[1-2]: exit 1\n    reading\n"


@pytest.mark.parametrize(
    ("stdout", "stderr", "exit_code", "words", "line"),
    [
        ("", "cm: x: line 3: false: exit status 1\n", 1, "false: exit status 1", 3),
        ("gone wrong\n", "cm: x: line 3: false: exit status 1\n", 1, "gone wrong", 3),
        ("", "why\ncm: x: line 3: for i in 1\ndo false; done: exit status 1\n", 1, "why", 3),
        ("", "no line\n", 7, "exit status 7: no line", None),
        ("", "", 7, "exit status 7: no output", None),
        ("", "timed out after 3 s\n", -1, "no answer: timed out after 3 s", None),
        ("", "cm: s: line 1: sleep: exit status 1\ntimed out after 3 s\n", -1, "no answer: timed out after 3 s", None),
    ],
)
def test_the_cause_of_a_failure(stdout: str, stderr: str, exit_code: int, words: str, line: int | None) -> None:
    """The cause is what stands before the line's report; without a report, what was printed last."""
    assert cause_of(CommandResult("n", exit_code, stdout, stderr, 0.1)) == Cause(words, line)


def test_a_part_whose_command_failed_is_failed(tmp_path: Path) -> None:
    """A step on a node ends as failed, with the cause, when its command did; the picture shows it so."""
    told: list[Event] = []
    with State(Home(tmp_path / "home", tmp_path / "cache")) as state:
        journal = Journal(state, new_operation("t", "create", "{}"), told.append)
        with journal.progress("script broken", node="t-master") as part:
            part.judge(CommandResult("t-master", 1, "", "no space\n", 0.1))
        with journal.progress("script good", node="t-master") as part:
            part.judge(CommandResult("t-master", 0, "", "", 0.1))
        state.begin_operation(journal.operation)
        journal.flush()
    bars = timeline(told, began_at=told[0].at, ended_at=told[-1].at).bars

    assert [(event.kind, event.message) for event in told if event.kind != "begin"] == [
        ("failed", "exit status 1: no space"), ("done", ""),
    ]  # fmt: skip
    assert {bar.step: bar.state for bar in bars} == {"script broken": "failed", "script good": "done"}
    lines = Told()
    lines.line_of(Event("output", "script broken", "t-master", "no space"))
    assert lines.line_of(told[1]) == "t-master: script broken failed (0.0 s)"
