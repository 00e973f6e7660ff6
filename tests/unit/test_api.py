"""`Cluster` from Python, as far as no node is needed: light to import, at home in a running loop, well shown."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import cloudmesh_cluster
from cloudmesh_cluster import Cluster
from cloudmesh_cluster.api import foreground
from cloudmesh_cluster.core.errors import Interrupted, NotFound, RemoteFailed, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.views.tables import Table
from tests.support.command_line import ROOT
from tests.support.journalled import add_cluster

IMPORTED = """
import sys, cloudmesh_cluster
assert "cloudmesh_cluster.api.cluster" not in sys.modules
from cloudmesh_cluster import Cluster
Cluster.list()
print(*(name for name in ("cmd2", "asyncssh", "openstack", "rich", "yaml", "jinja2", "IPython") if name in sys.modules))
"""


def test_import_is_light(home: Path) -> None:
    """The package alone imports nothing, and looking at clusters imports no SSH, no cloud and no notebook."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        env={**os.environ, "CM_HOME": str(home), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.strip() == ""


def test_public_names() -> None:
    """What the package promises is there, and nothing else is made up."""
    assert all(hasattr(cloudmesh_cluster, name) for name in cloudmesh_cluster.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Clster'"):
        _ = cloudmesh_cluster.Clster


def test_bad_input_touches_nothing(home: Path, cm_cache: Path) -> None:
    """An unknown cluster, a wrong name, a missing command: the errors of the command line, hint included."""
    where = Home(home, cm_cache)
    with pytest.raises(NotFound) as missing:
        Cluster.open("nosuch", home=where)
    assert "cm cluster create nosuch" in missing.value.__notes__[0]
    with pytest.raises(UsageError, match="not a name for a cluster"):
        Cluster.create("No Good", home=where, progress=False)
    with pytest.raises(UsageError, match="no command"):
        Cluster("t", home=where).cmd()
    assert Cluster.list(home=where) == ()
    assert repr(Cluster("t", home=where)) == "Cluster('t': deleted)"
    assert "deleted" in Cluster("t", home=where)._repr_html_()


def test_plan_is_the_one_of_the_command_line(home: Path, cm_cache: Path) -> None:
    """`Cluster.plan` takes what `create` takes and makes nothing."""
    where, settings = Home(home, cm_cache), {"hadoop.replication": 2}
    plan = Cluster.plan("t", profile="hadoop", provider="local", workers=3, settings=settings, home=where)

    assert [node.name for node in plan.nodes] == ["t-master", "t-worker-1", "t-worker-2", "t-worker-3"]
    assert str(plan.profile.plugins[0].settings["replication"]) == "2"
    assert Cluster.list(home=where) == ()


def test_clients_need_their_plugin(home: Path, cm_cache: Path) -> None:
    """A client of what is not on the cluster is refused, with the line that installs it."""
    where = Home(home, cm_cache)
    add_cluster(where, "t")
    with pytest.raises(NotFound) as missing:
        Cluster.open("t", home=where).dask()
    assert missing.value.hint == "cm cluster install t dask"
    with pytest.raises(NotFound):
        Cluster.open("t", home=where).spark()


async def _answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_operations_run_inside_a_running_loop() -> None:
    """What runs a loop of its own works where one runs already, and in a thread that is not the main one."""

    async def cell() -> int:
        return foreground.run(_answer(7))

    assert asyncio.run(cell()) == 7
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(foreground.run(_answer(8))))
    thread.start()
    thread.join()
    assert answers == [8]


def test_errors_come_back_as_they_are() -> None:
    """An error of the operation is raised in the caller's thread."""

    async def fail() -> None:
        raise RemoteFailed("no", [])

    with pytest.raises(RemoteFailed):
        foreground.run(fail())


def test_ctrl_c_waits_for_the_cleaning_up() -> None:
    """The first Ctrl-C cancels the operation, which cleans up before its error is raised."""
    cleaned = []

    async def work() -> None:
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)
            cleaned.append(time.monotonic())

    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted):
            foreground.run(work())
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(cleaned) == 1


NODES = (Node("t-master", "master", 0, "running", "10.0.0.10"), Node("t-worker-1", "worker", 1, "<b>", "10.0.0.11"))


def test_tables_show_themselves() -> None:
    """A table is a tuple of its records; it prints aligned, renders in rich and in HTML, where nothing is markup."""
    from rich.console import Console

    table = Table(NODES, ("name", "state"))

    assert tuple(table) == NODES
    assert isinstance(table, tuple)
    assert table[1].state == "<b>"
    assert repr(table) == "name        state\nt-master    running\nt-worker-1  <b>"
    assert table.rows[0]["private_ip"] == "10.0.0.10"
    html = table._repr_html_() or ""
    assert ';white-space:nowrap">t-master</td>' in html
    assert "<b>" not in html
    console = Console(record=True, width=60, file=io.StringIO())
    console.print(table)
    assert "t-worker-1" in console.export_text()


def test_a_table_may_be_text() -> None:
    """Where the words of the command line say more than a table, they stand for it, in notebooks too."""
    table = Table([CommandResult("t-master", 0, "a\nb\n", "", 0.1)], ("node",), text="master:\n  a\n  b\n")

    assert repr(table) == "master:\n  a\n  b"
    assert table._repr_html_() is None
    assert table[0].stdout == "a\nb\n"
