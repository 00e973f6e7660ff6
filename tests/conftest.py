"""What all tests share: a home of its own for each test, `cm`, and what makes a test of real nodes possible."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from tests.support import ordinary_user
from tests.support.command_line import SYSTEM_PATH, CommandLine

pytest_plugins = ["tests.support.cost", "tests.support.lanes"]

NODE_COMMANDS = ("unshare", "nsenter", "ip", "mmdebstrap", "newuidmap", "ssh")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below tests/local and tests/baremetal as `local`: it runs nodes on this machine."""
    for item in items:
        if {"local", "baremetal"} & set(item.path.relative_to(Path(__file__).parent).parts):
            item.add_marker(pytest.mark.local)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test of real nodes, with the reason, where no nodes can be; in CI that is a failure."""
    if item.get_closest_marker("local") and (reason := why_no_nodes()):
        refuse(reason)


def refuse(reason: str) -> None:
    """End the running test for want of something on this machine: skipped by hand, failed in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"not possible on this machine, and CI skips nothing: {reason}", pytrace=False)
    pytest.skip(reason)


@cache
def why_no_nodes() -> str:
    """Return why this machine can't run nodes; empty when it can."""
    missing = [name for name in NODE_COMMANDS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        return f"no {', '.join(missing)} here: run ./bootstrap.sh nodes"
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr.strip() if tried.returncode else ""


@pytest.fixture(scope="session")
def cm_cache() -> Path:
    """Return the CM_CACHE shared by all tests and runs: images are built once."""
    return Home.from_environment(os.environ).cache


@pytest.fixture
def home() -> Iterator[Path]:
    """Return an empty CM_HOME with a short path (unix sockets lie in it), gone after the test."""
    folder = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cm(home: Path, cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` with a fresh home; clusters that the test leaves behind are deleted after it."""
    command_line = CommandLine(home, cm_cache)
    yield command_line
    delete_clusters(command_line)


@pytest.fixture(scope="module")
def shared_cm(cm_cache: Path) -> Iterator[CommandLine]:
    """Return `cm` with a home for all tests of a module, for clusters that several tests look at."""
    folder = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    command_line = CommandLine(folder, cm_cache)
    yield command_line
    delete_clusters(command_line)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def user_cm() -> Iterator[CommandLine]:
    """Return `cm` as an ordinary user runs it: a user made for the tests, or the one who runs them."""
    if os.geteuid() != 0:
        folder = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
        own = CommandLine(folder, Home.from_environment(os.environ).cache)
        yield own
        delete_clusters(own)
        shutil.rmtree(folder)
        return
    with ordinary_user.ordinary_user() as made:
        yield made
        delete_clusters(made)


def delete_clusters(cm: CommandLine) -> None:
    """Delete every cluster of a home, whatever state it is in."""
    if not Home(cm.home, cm.cache).state_file.exists():
        return
    for name in cm("cluster", "list", "-f", "value", "-c", "name").stdout.split():
        cm("cluster", "delete", name, "--force", "-y")
