"""Ends nodes behind the back of `cm`, as a power cut does."""

from __future__ import annotations

import os
import signal
import time

from cloudmesh_cluster.providers.local.engine.engine import Engine
from tests.support.command_line import CommandLine


def crash(cm: CommandLine, cluster: str, node: str) -> None:
    """Kill a node of a local cluster, and wait until it is gone."""
    engine = Engine(cm.home / "clusters" / cluster / "engine", cm.cache / "images")
    os.kill(engine.running()[node], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while node in engine.running():
        assert time.monotonic() < deadline
        time.sleep(0.02)
