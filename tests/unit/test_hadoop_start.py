"""Tests of how the plugin `hadoop` starts its master, by its own script and a NameNode that still reads."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import PluginUse, RoleSpec
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.plugins.settings import settings_sh

ADDRESS = "127.98.70.88"  # of this machine, where nobody else listens
STARTING = 3  # answers before the NameNode has read what HDFS holds


class NameNode(BaseHTTPRequestHandler):
    """Serves its page at once, files a little later; then it is in safe mode, as after every start but the first."""

    asked = 0

    def do_GET(self) -> None:
        """Answer whether a file is there."""
        type(self).asked += 1
        self._answer(200 if self.asked > STARTING else 403)

    def do_PUT(self) -> None:
        """Refuse to write."""
        self._answer(403)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"{}" if status == 200 else b"Namenode is in safe mode")

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def masters() -> Iterator[None]:
    """Serve the ports of NameNode and ResourceManager."""
    NameNode.asked = 0
    servers = [ThreadingHTTPServer((ADDRESS, port), NameNode) for port in (9870, 8088)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


def start(tmp_path: Path, plugin: str = "hadoop", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `master.sh start` with services that are there already; what it asks of them is in `tmp_path/asked`."""
    folder = tmp_path / plugin
    shutil.copytree(resource("scripts", "hadoop"), folder)
    shutil.copy(resource("scripts", "boot", "plugin.sh"), folder)
    (chosen,) = resolve([PluginUse(plugin, settings)], Home(tmp_path, tmp_path))
    spec = RoleSpec(count=1)
    (folder / "settings.sh").write_bytes(settings_sh(chosen, master=spec, worker=spec, role="master"))
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "cm-service").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n')
    (commands / "cm-service").chmod(0o755)
    names = {"CM_ROLE": "master", "CM_NODE": ADDRESS, "CM_MASTER": ADDRESS, "CM_WORKERS": "t-worker-1"}
    environment = {**os.environ, **names, "PATH": f"{commands}:{os.environ['PATH']}"}
    words = ["bash", str(folder / "master.sh"), "start"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.usefixtures("masters")
def test_a_namenode_that_still_reads_is_waited_for(tmp_path: Path) -> None:
    """What it says before that does not mean that there are no folders."""
    done = start(tmp_path)

    assert done.returncode == 0, done
    assert NameNode.asked > STARTING


@pytest.mark.usefixtures("masters")
@pytest.mark.parametrize(
    ("plugin", "daemons"),
    [
        ("hadoop", ["namenode", "resourcemanager", "historyserver"]),
        ("hdfs", ["namenode"]),
        ("yarn", ["resourcemanager"]),
    ],
)
def test_a_part_starts_its_own_daemons(tmp_path: Path, plugin: str, daemons: list[str]) -> None:
    """And asks HDFS for nothing where there is none."""
    NameNode.asked = STARTING
    done = start(tmp_path, plugin)
    asked = (tmp_path / "asked").read_text().splitlines()

    assert done.returncode == 0, done
    assert [line for line in asked if line.startswith("start")] == [f"start hadoop-{daemon}" for daemon in daemons]
    assert (NameNode.asked > STARTING) == (plugin != "yarn")


@pytest.mark.usefixtures("masters")
def test_what_hdfs_refuses_is_said(tmp_path: Path) -> None:
    """A start that fails says why."""
    NameNode.asked = -1000
    done = start(tmp_path, start_timeout="1s")

    assert done.returncode != 0
    assert "the NameNode has read what HDFS holds: not within the time given" in done.stderr
