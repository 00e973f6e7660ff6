"""Errors in words and exit codes."""

from __future__ import annotations

import pytest

from cloudmesh_cluster.cli.failures import exit_code, explain
from cloudmesh_cluster.errors import (
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
from cloudmesh_cluster.model import CheckResult, CommandResult, Leftover, Problem

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
    """After five nodes the rest is a number."""
    answers = [CommandResult(f"n{i}", 1, "", "no\n", 0.1) for i in range(64)]

    assert "... and 59 more nodes" in explain(RemoteFailed("x", answers), debug=False)
