"""Verdicts: the probes run in a real bash, the judgements are functions of data."""

from __future__ import annotations

import os
import socket
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cloudmesh_cluster.checks.verdicts import check_command, expected_text, judge, one_line
from cloudmesh_cluster.core.model import Check, CheckResult, CommandResult, Expectation
from cloudmesh_cluster.views.junit import junit_xml


def run_here(check: Check, *, name: str = "localhost") -> CommandResult:
    """Run what a check would run on a node called `name`."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", check_command(check)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CM_NODE": name},
    )
    return CommandResult("n", done.returncode, done.stdout, done.stderr, 0.1)


def answer(stdout: str = "", *, stderr: str = "", status: int = 0) -> CommandResult:
    """Return an answer of the node n."""
    return CommandResult("n", status, stdout, stderr, 0.5)


def test_run_is_the_users_text() -> None:
    """A command is run as it was written."""
    assert check_command(Check("c", run="a | b")) == "a | b"


def test_port_probe() -> None:
    """An open port answers, a closed one does not, whatever the shell's strictness."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check = Check("web", port=port)
        opened = judge(check, run_here(check))
    closed = judge(check, run_here(check))

    assert (opened.ok, opened.expected, opened.actual) == (True, f"port {port} answers", f"port {port} answers")
    assert (closed.ok, closed.actual) == (False, f"exit 1: nothing answers on port {port}")


def test_port_probe_tells_localhost_from_the_own_name() -> None:
    """A service that listens on localhost only is not reachable for the other nodes, and the verdict says so."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        check = Check("web", port=server.getsockname()[1])
        verdict = judge(check, run_here(check, name="name.invalid"))

    assert (verdict.ok, verdict.actual) == (False, f"exit 1: port {check.port} answers on localhost only")


def test_file_probe(tmp_path: Path) -> None:
    """A file is there or not, and its text is matched when a pattern is expected; names need no care."""
    path = tmp_path / "it's $(odd)"
    there = Check("file", file=str(path))
    holds = Check("file", file=str(path), expect=Expectation(stdout="^two$"))
    two = Check("file", file=str(path), expect=Expectation(stdout="(?m)^two$", count=2))
    before = judge(there, run_here(there))
    path.write_text("one\ntwo\n")

    assert (before.ok, before.actual) == (False, f"exit 1: there is no file {path}")
    assert judge(there, run_here(there)).ok
    assert run_here(there).stdout == ""
    assert not judge(holds, run_here(holds)).ok
    assert judge(two, run_here(two)).ok
    assert not judge(two, answer("two\n")).ok


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (Check("c", run="x"), "exit 0"),
        (Check("c", run="x", expect=Expectation(exit=3)), "exit 3"),
        (Check("c", run="x", expect=Expectation(exit=None)), "any answer"),
        (Check("c", run="x", expect=Expectation(stdout="^a")), "stdout ~ ^a"),
        (Check("c", run="x", expect=Expectation(exit=2, stderr="b", count=1)), "exit 2, stderr ~ b, 1 line"),
        (Check("c", port=22), "port 22 answers"),
        (Check("c", port=22, expect=Expectation(exit=1)), "port 22 does not answer"),
        (Check("c", file="/f"), "/f exists"),
        (Check("c", file="/f", expect=Expectation(exit=1)), "/f does not exist"),
        (Check("c", file="/f", expect=Expectation(stdout="x", count=2)), "/f exists, stdout ~ x, 2 lines"),
    ],
)
def test_expected(check: Check, text: str) -> None:
    """What is expected is one short line."""
    assert expected_text(check) == text


@pytest.mark.parametrize(
    ("expect", "result", "ok", "actual"),
    [
        (Expectation(), answer("hi\n"), True, "exit 0"),
        (Expectation(), answer(status=2, stderr="bad\nworse\n"), False, "exit 2: worse"),
        (Expectation(), answer("said\n", status=2), False, "exit 2: said"),
        (Expectation(), answer(status=2), False, "exit 2"),
        (Expectation(exit=2), answer(status=2), True, "exit 2"),
        (Expectation(exit=2), answer(), False, "exit 0"),
        (Expectation(exit=None), answer(status=9), True, "exit 9"),
        (Expectation(exit=None), answer(status=-1), False, "no answer: timed out"),
        (Expectation(exit=-1), answer(status=-1, stderr="lost\n"), False, "no answer: lost"),
        (Expectation(stdout="^3$"), answer("3\n"), True, "3"),
        (Expectation(stdout="^3$"), answer("2\n"), False, "stdout: 2"),
        (Expectation(stdout="^3$"), answer("3\n", status=1), False, "exit 1: 3"),
        (Expectation(stdout="x"), answer(), False, "stdout: empty"),
        (Expectation(stdout="^$"), answer(), True, "empty"),
        (Expectation(stderr="warn"), answer(stderr="a warning\n"), True, "warn"),
        (Expectation(stderr="warn"), answer("warn\n"), False, "stderr: empty"),
        (Expectation(count=2), answer("a\nb\n"), True, "2 lines"),
        (Expectation(count=2), answer("a\n"), False, "1 line: a"),
        (Expectation(count=0), answer(), True, "0 lines"),
    ],
)
def test_judgements(expect: Expectation, result: CommandResult, ok: bool, actual: str) -> None:
    """An answer is right or wrong, and the verdict says in a line what was found."""
    verdict = judge(Check("c", run="x", expect=expect), result)

    assert (verdict.ok, verdict.actual) == (ok, actual)
    assert (verdict.check, verdict.node, verdict.seconds) == ("c", "n", 0.5)


def test_actual_is_one_short_line() -> None:
    """However long and wild an answer is, what is shown of it is one line that can't move the cursor."""
    assert one_line("a\n\tb\x1b[31m red\x1b[0m\x00c\r\n") == "a b red c"
    assert len(one_line("x" * 1000)) == 160
    assert one_line("x" * 160) == "x" * 160


def test_junit() -> None:
    """Results become a test suite: a case for each check and node, failures with what was expected and found."""
    results = [
        CheckResult("names", "t-master", "exit 0", "exit 0", True, 0.25),
        CheckResult('<"&\x00>', "t-worker-1", "stdout ~ <3>", "stdout: \x1b & 2", False, 1.0),
    ]
    text = junit_xml(results, cluster="t")
    suite = ET.fromstring(text)[0]  # noqa: S314 - made two lines above

    assert text.startswith("<?xml")
    assert suite.attrib == {"name": "t", "tests": "2", "failures": "1", "errors": "0", "time": "1.250"}
    assert [(case.get("classname"), case.get("name"), case.get("time")) for case in suite] == [
        ("t.t-master", "names", "0.250"),
        ("t.t-worker-1", '<"&\ufffd>', "1.000"),
    ]
    failure = suite[1][0]
    assert failure.get("message") == "stdout: \ufffd & 2"
    assert failure.text == "expected: stdout ~ <3>\nactual: stdout: \ufffd & 2\nnode: t-worker-1\n"
    assert len(suite[0]) == 0
