"""What all tests against OpenStack share: a devcloud, installed and started when there is none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud import install
from tests.conftest import refuse, why_no_nodes
from tests.support import devcloud_clients
from tests.support.cloud_project import Project, own_project
from tests.support.devcloud_clients import Devcloud


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip with the reason, where no devcloud can be; in CI that is a failure."""
    if reason := _why_no_devcloud():
        refuse(reason)


def _why_no_devcloud() -> str:
    if os.geteuid() != 0:
        return "devcloud's servers are real nodes in networks that only root can make"
    if missing := install.missing_programs("engine"):
        return f"no {', '.join(missing)} here: run ./bootstrap.sh devcloud"
    if shutil.which("ssh") is None:
        return "no ssh here"
    return why_no_nodes()


@pytest.fixture(scope="session")
def devcloud() -> Iterator[Devcloud]:
    """Return the devcloud whose servers are real nodes; it stays up, for the next run."""
    yield devcloud_clients.up("engine")


@pytest.fixture(scope="session")
def fake_devcloud() -> Iterator[Devcloud]:
    """Return the devcloud whose servers are nothing but rows of Nova's; it stays up, for the next run."""
    yield devcloud_clients.up("fake")


@pytest.fixture(scope="module")
def project(devcloud: Devcloud) -> Iterator[Project]:
    """Return a project that only the tests of one module use."""
    with tempfile.TemporaryDirectory(prefix="cm-") as folder, own_project(devcloud, Path(folder)) as made:
        yield made
