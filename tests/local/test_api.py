"""`Cluster` on real nodes: what Python gets is what the command line does, results and errors included."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster import Cluster
from cloudmesh_cluster.core.errors import OperationFailed, RemoteFailed, UsageError
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.home import Home
from tests.support.command_line import CommandLine


@pytest.fixture(scope="module")
def home(shared_cm: CommandLine) -> Home:
    """Return the home that the tests of this module share with `cm`."""
    return Home(shared_cm.home, shared_cm.cache)


@pytest.fixture(scope="module")
def cluster(home: Home) -> Iterator[Cluster]:
    """Return a cluster of one worker, made in a loop that runs already, as in a notebook."""
    heard: list[Event] = []

    async def cell() -> Cluster:
        return Cluster.create("t", provider="local", workers=1, home=home, progress=heard.append)

    made = asyncio.run(cell())
    assert {"provision", "reach", "wire", "verify"} <= {event.step for event in heard}
    yield made


def test_it_is_what_the_command_line_sees(cluster: Cluster, shared_cm: CommandLine) -> None:
    """Nodes, state, checks and history are those of `cm`; the picture has a lane for each node."""
    assert cluster.state == shared_cm("cluster", "show", "t", "-f", "value", "-c", "state").stdout.strip() == "ready"
    assert [(node.name, node.state) for node in cluster.nodes] == [("t-master", "running"), ("t-worker-1", "running")]
    assert cluster.checks
    assert all(check.ok for check in cluster.checks)
    assert cluster.history[0]["kind"] == "create"
    html = cluster._repr_html_()
    assert html.count("<svg") == 1
    assert "t-worker-1: reach" in html
    assert "all " in html


def test_commands_and_files(cluster: Cluster, tmp_path: Path) -> None:
    """Answers are records by node; one that is not 0 raises with all of them, or is returned when asked."""
    assert [answer.stdout for answer in cluster.cmd("hostname")] == ["t-master\n", "t-worker-1\n"]
    assert repr(cluster.cmd("echo", "a  b", "$HOME")) == "master,worker-1: a  b $HOME"
    with pytest.raises(RemoteFailed) as failed:
        cluster.cmd("test $(hostname) = t-master")
    assert [result.ok for result in failed.value.results] == [True, False]
    assert [answer.exit for answer in cluster.cmd("exit 3", check=False)] == [3, 3]

    (tmp_path / "words").write_text("one two\n")
    cluster.put(tmp_path / "words", "/tmp/words", target="worker")
    cluster.get("/tmp/words", tmp_path / "back", target="worker")
    assert (tmp_path / "back").read_text() == "one two\n"
    with pytest.raises(RemoteFailed):
        cluster.get("/no/such/file", tmp_path / "nothing", target="master")


def test_written_scripts_come_to_later_nodes(cluster: Cluster, tmp_path: Path) -> None:
    """A good script is remembered and runs on a node added later; a bad one raises, is undone and forgotten."""
    script = tmp_path / "mark.sh"
    script.write_text("echo marked >/etc/mark; echo done")
    [answer] = cluster.write("worker", script, expect="done", test="grep marked /etc/mark")
    assert answer.ok
    with pytest.raises(OperationFailed) as failed:
        cluster.write("master", "touch /etc/half\nfalse", undo="rm /etc/half")
    assert failed.value.outcome == "undone"
    assert isinstance(failed.value.cause, RemoteFailed)
    assert [row["name"] for row in cluster.scripts] == ["mark.sh"]
    assert cluster.cmd("test -e /etc/half", target="master", check=False)[0].exit == 1

    assert len(cluster.scale("+1").nodes) == 3
    assert {answer.stdout for answer in cluster.cmd("cat /etc/mark", target="worker")} == {"marked\n"}
    assert [(bar.node, bar.step) for bar in cluster.report().timeline.bars if bar.step == "script mark.sh"] == [
        ("t-worker-2", "script mark.sh")
    ]


def test_with_deletes_what_it_made_and_nothing_else(home: Home, cluster: Cluster) -> None:
    """A `with` block deletes the cluster that it made, also when it fails; one that was opened stays."""
    with pytest.raises(ZeroDivisionError):
        with Cluster.create("gone", provider="local", workers=1, home=home, progress=False) as made:
            assert made.state == "ready"
            raise ZeroDivisionError
    assert [each.name for each in Cluster.list(home=home)] == ["t"]
    assert repr(made) == "Cluster('gone': deleted)"

    with Cluster.open("t", home=home) as opened:
        assert opened.verify()
    assert cluster.state == "ready"
    with pytest.raises(UsageError, match="already"):
        Cluster.create("t", provider="local", home=home, progress=False)


def test_progress_is_silent_where_nobody_looks(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a terminal and without a notebook nothing is printed."""
    cluster.verify()
    assert capfd.readouterr() == ("", "")
    assert os.environ.get("CM_HOME") != str(cluster._home.root)
