"""A devcloud for benchmarks, and the command `openstack`, which `cm` is measured against."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured import Run, run
from devcloud import clouds_yaml
from devcloud.layout import REPOSITORY, Cloud

PATIENCE = 1800.0
MOST_RATIO, MOST_SECONDS = 1.25, 10.0


@dataclass(frozen=True)
class OpenStack:
    """Runs the command `openstack` of a devcloud, as its ordinary user."""

    cloud: Cloud

    def __call__(self, *words: str) -> Run:
        """Run `openstack WORDS...` to its end."""
        program = self.cloud.venv / "bin" / "openstack"
        return run([str(program), "--os-cloud", self.cloud.name, *words], timeout=PATIENCE)

    def stack_of(self, folder: Path, name: str) -> Run:
        """Make a stack of the files that `cm cluster create --dry-run --output` writes, and delete it again."""
        files = ("-t", str(folder / "template.yaml"), "-e", str(folder / "env.yaml"))
        try:
            return self("stack", "create", "--wait", "--poll", "1", *files, name)
        finally:
            self.delete_stack(name)

    def delete_stack(self, name: str) -> Run:
        """Delete a stack and wait until it is gone."""
        return self("stack", "delete", "--wait", "-y", name)


@contextmanager
def devcloud(driver: str) -> Iterator[OpenStack]:
    """Have a devcloud run, and let it be the cloud of this process and of those it starts."""
    cloud = Cloud.from_environment(os.environ, driver)
    run([str(REPOSITORY / "devcloud" / "devcloud"), "up", "--driver", driver], timeout=PATIENCE)
    before = dict(os.environ)
    os.environ.update(OS_CLOUD=cloud.name, OS_CLIENT_CONFIG_FILE=str(clouds_yaml.file()))
    try:
        yield OpenStack(cloud)
    finally:
        os.environ.clear()
        os.environ.update(before)


def quick_enough(own: float, raw: float) -> bool:
    """Return whether `cm` took at most a quarter longer than Heat alone, or 10 seconds, whichever is more."""
    return own <= max(raw * MOST_RATIO, raw + MOST_SECONDS)
