"""The tutorial on OpenStack runs as it is, on devcloud."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.devcloud_clients import Devcloud
from tests.support.notebooks import NOTEBOOKS, executed, kernel_environment

STACK = "cm-sky"


@pytest.fixture
def cloud(devcloud: Devcloud) -> Devcloud:
    """Return the devcloud, without the stack that the notebook makes."""
    devcloud.delete_stack(STACK)
    return devcloud


def test_notebook_runs(cloud: Devcloud, cm_cache: Path) -> None:
    """Every cell succeeds, and the cloud has nothing of the cluster at the end."""
    try:
        clouds = {"OS_CLOUD": cloud.name, "OS_CLIENT_CONFIG_FILE": os.environ["OS_CLIENT_CONFIG_FILE"]}
        with kernel_environment(cm_cache, **clouds) as environ:
            executed(NOTEBOOKS / "07-openstack.ipynb", environ)

        assert cloud.stack_status(STACK) is None
        assert not [server for server in cloud.connection.compute.servers() if server.name.startswith("sky-")]
    finally:
        cloud.delete_stack(STACK)
