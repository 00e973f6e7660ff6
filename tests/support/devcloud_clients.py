"""A devcloud for tests: brought up when it isn't, and reached by OpenStack's own clients."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from devcloud import clouds_yaml
from devcloud.layout import Cloud

T = TypeVar("T")
PROGRAM = Path(__file__).resolve().parents[2] / "devcloud" / "devcloud"
PATIENCE = 300.0


def up(driver: str, *, number: int = 0) -> Devcloud:
    """Have a devcloud run, and return how to use it; one that an older devcloud has made goes."""
    cloud = Cloud.from_environment({**os.environ, "DEVCLOUD_NUMBER": str(number)}, driver)
    done = program(cloud, "up")
    if "older devcloud" in done.stderr:
        assert program(cloud, "clean").returncode == 0
        done = program(cloud, "up")
    assert done.returncode == 0, done.stderr
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(clouds_yaml.file())
    return Devcloud(cloud, cloud.name)


def program(cloud: Cloud, command: str) -> subprocess.CompletedProcess[str]:
    """Run `devcloud COMMAND` for a cloud."""
    environ = {**os.environ, "DEVCLOUD_NUMBER": str(cloud.number)}
    words: list[str | Path] = [PROGRAM, command, "--driver", cloud.driver]
    return subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False, env=environ)


@dataclass(frozen=True)
class Devcloud:
    """A devcloud as one of its users sees it.

    Args:
        cloud: where it is.
        name: the entry in clouds.yaml that is used.
        clouds: the clouds.yaml; None for the one that devcloud writes.

    """

    cloud: Cloud
    name: str
    clouds: Path | None = None

    @property
    def admin(self) -> Devcloud:
        """The same cloud, as its administrator sees it."""
        return Devcloud(self.cloud, f"{self.cloud.name}-admin")

    @cached_property
    def connection(self) -> Any:
        """Openstacksdk's connection."""
        from openstack.config import OpenStackConfig
        from openstack.connection import Connection

        if self.clouds is None:
            return Connection(config=OpenStackConfig().get_one(cloud=self.name))
        config = OpenStackConfig(config_files=[str(self.clouds)], load_envvars=False)
        return Connection(config=config.get_one(cloud=self.name))

    @cached_property
    def heat(self) -> Any:
        """Python-heatclient."""
        from heatclient import client

        return client.Client("1", session=self.connection.session, region_name="RegionOne")

    @cached_property
    def nova(self) -> Any:
        """Python-novaclient."""
        from novaclient import client

        return client.Client("2.79", session=self.connection.session, region_name="RegionOne")

    @contextmanager
    def flavor(self, name: str, *, ram: int, disk: int) -> Iterator[None]:
        """Have a flavor of one CPU; memory in MiB, disk in GiB."""
        made = self.connection.compute.create_flavor(name=name, ram=ram, disk=disk, vcpus=1)
        try:
            yield
        finally:
            self.connection.compute.delete_flavor(made)

    def create_stack(self, name: str, template: str, **parameters: str) -> dict[str, Any]:
        """Create a stack, wait for it, and return its outputs."""
        self.heat.stacks.create(stack_name=name, template=template, parameters=parameters, timeout_mins=10)
        wait_for(lambda: self.stack_status(name) != "CREATE_IN_PROGRESS")
        stack = self.heat.stacks.get(name)
        assert stack.stack_status == "CREATE_COMPLETE", stack.stack_status_reason
        return {row["output_key"]: row.get("output_value") for row in stack.outputs}

    def delete_stack(self, name: str) -> None:
        """Delete a stack and wait until it is gone; a missing one is no error."""
        if self.stack_status(name) is not None:
            self.heat.stacks.delete(name)
            wait_for(lambda: self.stack_status(name) in (None, "DELETE_FAILED"))
        assert self.stack_status(name) is None

    def stack_status(self, name: str) -> str | None:
        """Return a stack's status; None: there is none of this name."""
        from heatclient import exc

        try:
            return str(self.heat.stacks.get(name, resolve_outputs=False).stack_status)
        except exc.HTTPNotFound:
            return None

    def wait_for_server(self, server: str, status: str) -> None:
        """Wait until Nova says that a server has a status and does nothing with it."""

        def reached() -> bool:
            seen = self.nova.servers.get(server)
            assert seen.status != "ERROR" or status == "ERROR", seen.fault
            return seen.status == status and getattr(seen, "OS-EXT-STS:task_state") is None

        wait_for(reached)


def wait_for(answer: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + patience
    while not (seen := answer()):
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.5)
    return seen
