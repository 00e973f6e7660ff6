"""Which nodes have a server of ZooKeeper: the role scripts' own functions, in bash."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cloudmesh_cluster.core.resources import resource


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """Return a folder as a node has it, whose ensemble may have five servers."""
    folder = tmp_path / "zookeeper"
    shutil.copytree(resource("scripts", "zookeeper", "files"), folder / "files")
    shutil.copy(resource("scripts", "boot", "plugin.sh"), folder)
    (folder / "settings.sh").write_text("CM_SETTING_SERVERS=5\n")
    return folder


def run(plugin: Path, line: str, *, workers: int, node: str = "k-master") -> str:
    """Return what a line prints on a node that has the plugin's functions."""
    names = " ".join(f"k-worker-{number}" for number in range(workers, 0, -1))
    environment = {"PATH": "/usr/bin:/bin", "CM_MASTER": "k-master", "CM_WORKERS": names, "CM_NODE": node}
    words = ["bash", "-c", f"source {plugin}/files/common.sh; {line}"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_servers_are_the_first_nodes_and_an_odd_number(plugin: Path) -> None:
    """Whatever comes behind them; in the order of numbers, not of words."""
    expected = {1: 1, 2: 3, 3: 3, 4: 5, 5: 5, 12: 5}
    for workers, count in expected.items():
        servers = run(plugin, "servers", workers=workers).split()
        assert servers == ["k-master", *(f"k-worker-{number}" for number in range(1, count))]


def test_a_server_knows_that_it_is_one_every_time(plugin: Path) -> None:
    """Also one in the middle of the list, hundreds of times: one that takes itself for none would drop its data."""
    line = "for ((i = 0; i < 200; i++)); do is_server || echo no; done; echo done"
    assert run(plugin, line, workers=12, node="k-worker-1") == "done\n"
    assert run(plugin, "is_server || echo no", workers=12, node="k-worker-10") == "no\n"
