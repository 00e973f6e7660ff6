"""What the benchmark of OpenStack reckons with; what it measures is no test."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks import openstack
from benchmarks.api_calls import Call, recorded
from benchmarks.cloud import quick_enough
from cloudmesh_cluster.providers.openstack.patience import PatientSession
from tests.support.command_line import ROOT

CONSOLE = ("POST", "/v2.1/servers/1/action", "os-getConsoleOutput")
LOOK = ("GET", "/v1/p/stacks/cm-t/id/events", "")


def calls(*kinds: tuple[str, str, str]) -> list[Call]:
    """Return calls of some kinds, one a second."""
    return [Call(float(at), *kind) for at, kind in enumerate(kinds)]


def test_help() -> None:
    """It explains itself."""
    words = [sys.executable, "-m", "benchmarks.openstack", "--help"]
    answer = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)

    assert "--servers" in answer.stdout


def test_calls_are_sorted() -> None:
    """What is asked before the stack, looks at it, consoles beyond one a node, and the rest."""
    before, create = ("GET", "/v3/limits", ""), ("POST", "/v1/p/stacks", "stack_name")
    figures = openstack.counted(
        2, 9.0, 5.0, calls(before, before, create, LOOK, CONSOLE, CONSOLE, CONSOLE, LOOK, before)
    )

    assert (figures.before, figures.looks, figures.consoles, figures.others, figures.wait) == (2, 2, 1, 1, 6.0)
    assert figures.kept


@pytest.mark.parametrize(("kind", "a_second"), [(LOOK, 2), (CONSOLE, 6)])
def test_too_many_calls_show(kind: tuple[str, str, str], a_second: int) -> None:
    """Who asks more often than the bound allows does not keep it."""
    create = Call(0.0, "POST", "/v1/p/stacks", "stack_name")
    often = [Call(at / a_second, *kind) for at in range(10 * a_second)]

    assert not openstack.counted(2, 9.0, 5.0, [create, *often]).kept


@pytest.mark.parametrize(
    ("own", "raw", "enough"), [(14.9, 5.0, True), (15.1, 5.0, False), (124.9, 100.0, True), (125.1, 100.0, False)]
)
def test_bound_of_time(own: float, raw: float, enough: bool) -> None:
    """A quarter more, or 10 seconds, whichever is more."""
    assert quick_enough(own, raw) is enough


def test_calls_are_recorded() -> None:
    """A call through the session of `cm` is written down before it is made, with the action but not its arguments."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_request(self, *answer: object) -> None:
            """Say nothing."""

    seen: list[Call] = []
    with HTTPServer(("127.0.0.1", 0), Answers) as server, recorded(seen.append):
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_port}/servers/1/action"
        PatientSession().request(url, "POST", json={"os-start": {"secret": 1}}, authenticated=False)

    assert [(call.method, call.path, call.asked) for call in seen] == [("POST", "/servers/1/action", "os-start")]
