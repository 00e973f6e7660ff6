"""Waiting for daemons, in role scripts and in checks: one that has ended is not waited for, and says why it ended."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from cloudmesh_cluster.checks import runner as checks
from cloudmesh_cluster.checks.runner import ENDED, run_checks
from cloudmesh_cluster.core.model import Check, Cluster, CommandResult, Node
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.ssh.connections import Connections

Run = Callable[..., subprocess.CompletedProcess[str]]
LOG = """\
INFO nodemanager.NodeStatusUpdaterImpl: Registering with RM
ERROR nodemanager.NodeManager: Error starting NodeManager
org.apache.hadoop.yarn.exceptions.YarnRuntimeException: shut down
Caused by: YarnRuntimeException: Message from ResourceManager: NodeManager doesn't satisfy minimum allocations
\tat org.apache.hadoop.yarn.server.nodemanager.NodeStatusUpdaterImpl.registerWithRM(NodeStatusUpdaterImpl.java:477)
INFO nodemanager.NodeManager: SHUTDOWN_MSG:
"""
REASON = "Message from ResourceManager: NodeManager doesn't satisfy minimum allocations"
SOON = 20.0  # seconds, of the 240 that are given


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return what runs lines as a role script of the plugin `yarn`, on a node whose services are named."""
    plugin, commands = tmp_path / "yarn", tmp_path / "commands"
    plugin.mkdir()
    commands.mkdir()
    shutil.copy(resource("scripts", "boot", "plugin.sh"), plugin)
    (plugin / "settings.sh").write_text("CM_SETTING_START_TIMEOUT=240\n")
    (tmp_path / "log").write_text(LOG)
    (commands / "cm-service").write_text('#!/bin/sh\ncase " $ALIVE " in *" $2 "*) ;; *) exit 3 ;; esac\n')
    (commands / "cm-service").chmod(0o755)

    def run_lines(lines: str, *, alive: str = "") -> subprocess.CompletedProcess[str]:
        script = f'source "{plugin}/plugin.sh"; log_of() {{ cat "{tmp_path}/log"; }}\n{lines}'
        environ = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "CM_NODE": "127.0.0.1", "ALIVE": alive}
        return subprocess.run(
            ["bash", "-c", script, str(plugin / "worker.sh")],
            env=environ, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run_lines


def test_a_daemon_that_has_ended_is_not_waited_for(run: Run) -> None:
    """Waiting ends long before its time, with the end of the daemon's own log; the last line is why it ended."""
    began = time.monotonic()
    ended = run('wait_with "datanode nodemanager" 240 "it is registered" false', alive="datanode")

    assert time.monotonic() - began < SOON
    assert ended.returncode == 1
    assert "the end of the log of nodemanager:\nINFO nodemanager" in ended.stderr
    *_, last = ended.stderr.splitlines()
    assert last.startswith("yarn: it is registered: nodemanager has ended on 127.0.0.1: Caused by: ")
    assert REASON in last
    served = run("serve nodemanager 9", alive="")
    assert served.returncode == 1
    assert "127.0.0.1 serves port 9: nodemanager has ended" in served.stderr.splitlines()[-1]


def test_a_daemon_of_another_node_is_looked_at(run: Run) -> None:
    """Where nobody accepts connections any more, waiting ends and says where; an open port is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        waited = run(f'wait_with "nodemanager 127.0.0.1:{port}" 1 "it is registered" false', alive="nodemanager")
        assert waited.stderr.endswith("yarn: it is registered: not within the time given\n")
        assert REASON in waited.stderr
    began = time.monotonic()
    gone = run(f'wait_with "nodemanager 127.0.0.1:{port}" 240 "it is registered" false', alive="nodemanager")
    assert time.monotonic() - began < SOON
    assert gone.stderr.endswith(f"nobody answers at 127.0.0.1:{port}\n")


def test_what_comes_in_time_is_waited_for(run: Run, tmp_path: Path) -> None:
    """A command that succeeds after a while ends the waiting."""
    lines = f'(sleep 1; touch {tmp_path}/there) & wait_with nodemanager 240 "it is there" test -e {tmp_path}/there'
    assert run(lines, alive="nodemanager").returncode == 0


def test_a_check_says_that_a_daemon_has_ended(run: Run) -> None:
    """`require` ends a check with the status that forbids to try again, and with the reason."""
    assert run("require datanode nodemanager; echo on", alive="datanode nodemanager").stdout == "on\n"
    ended = run("require datanode nodemanager; echo on", alive="datanode")
    assert (ended.returncode, ended.stdout) == (ENDED, "")
    assert ended.stderr.splitlines()[-1].startswith("yarn: nodemanager has ended on 127.0.0.1: Caused by: ")


class Answers:
    """Connections that answer a check by its command: with this status, this often tried."""

    def __init__(self, **statuses: int) -> None:
        self.statuses, self.tries = statuses, dict.fromkeys(statuses, 0)

    async def run(self, node: Node, line: str, **_: Any) -> CommandResult:
        """Answer at once."""
        (name,) = (each for each in self.statuses if f"check-{each}" in line)
        self.tries[name] += 1
        return CommandResult(node.name, self.statuses[name], "", f"{name} says why\n", 0.0)


@pytest.mark.parametrize(
    ("statuses", "once", "longest", "tries"),
    [
        ({"dead": ENDED, "other": 1, "good": 0}, False, 3.0, None),
        ({"slow": 1, "good": 0}, True, 1.0, {"slow": 1, "good": 1}),
    ],
)
def test_checks_are_not_tried_again_in_vain(
    monkeypatch: pytest.MonkeyPatch, statuses: dict[str, int], once: bool, longest: float, tries: dict[str, int] | None
) -> None:
    """When a daemon stays ended, all checks end; with `once` each is tried a single time."""
    monkeypatch.setattr(checks, "ENDED_FOR", 0.5)
    cluster = Cluster("t", "ready", "local", "default", "", (Node("t-master", "master", 0, "running", "10.0.0.1"),))
    answers = Answers(**statuses)
    wanted = [Check(name, run=f"check-{name}", within=60.0) for name in statuses]
    began = time.monotonic()
    results = asyncio.run(run_checks(cast(Connections, answers), cluster, wanted, once=once))

    assert time.monotonic() - began < longest
    assert {result.check: result.ok for result in results} == {name: not status for name, status in statuses.items()}
    assert all(result.ok or f"{result.check} says why" in result.actual for result in results)
    assert tries in (None, answers.tries)


def test_a_daemon_that_comes_up_is_waited_for() -> None:
    """A node that is just being started may have its daemons a little later: the check is tried again."""
    cluster = Cluster("t", "ready", "local", "default", "", (Node("t-master", "master", 0, "running", "10.0.0.1"),))
    answers = Answers(late=ENDED)

    async def check() -> bool:
        asyncio.get_running_loop().call_later(1.0, answers.statuses.update, {"late": 0})
        late = Check("late", run="check-late", within=60.0)
        (result,) = await run_checks(cast(Connections, answers), cluster, [late])
        return result.ok

    assert asyncio.run(check())
