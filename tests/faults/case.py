"""A case: a fault at an instant of an operation, and what came of it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.queries import inspect
from cloudmesh_cluster.state.store import State
from tests.support.command_line import CommandLine
from tests.support.plugin_folder import write_plugin
from tests.support.traces import traces

PROFILE = """\
name: slow
roles: {worker: {count: 1}}
scripts:
  all: [{name: everywhere, run: 'echo began; sleep 0.3; echo all >>/var/tmp/ran'}]
  worker: [{name: workers, run: 'echo began; sleep 0.3; echo worker >>/var/tmp/ran'}]
checks:
  - {name: scripts have run, on: worker, run: 'sleep 0.3; sort -u /var/tmp/ran', expect: {stdout: "^all\\nworker$"}}
"""
PLUGIN = {
    "plugin.yaml": "description: a file\nchecks: [{name: box, run: test -s /opt/box/all, within: 60s}]\n",
    "all.sh": """\
#!/bin/bash
set -euo pipefail
case ${1:-} in
    install) mkdir -p /opt/box && sleep 0.3 && echo all >/opt/box/all ;;
    uninstall) sleep 0.3 && rm -rf /opt/box ;;
esac
""",
}
NAME = "t"


@dataclass
class Trial:
    """A case that runs: its `cm`, and what was seen so far.

    Args:
        cm: with a home of its own.
        false: what was called ready, or done, and was not.
        left: what is left that should be gone.

    """

    cm: CommandLine
    false: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def home(self) -> Home:
        """The home of `cm`, to be looked at without another process."""
        return Home(self.cm.home, self.cm.cache)

    def state(self, name: str = NAME) -> str:
        """Return the state of the cluster as `list` shows it; empty when there is none."""
        return self.states().get(name, "")

    def states(self) -> dict[str, str]:
        """Return the state of each cluster as `list` shows it."""
        return {each.name: each.state for each in inspect.clusters(self.home)}

    def last_operation(self, name: str = NAME) -> str:
        """Return how the newest operation ended, as `history` shows it."""
        with State(self.home) as state:
            done = bool(state.operations(name))
        return str(inspect.history(self.home, name)[-1]["state"]) if done else ""

    def nodes(self, name: str = NAME) -> dict[str, str]:
        """Return the state of each node."""
        return {node.name: node.state for node in inspect.cluster(self.home, name).nodes}

    def resume(self, name: str = NAME) -> None:
        """Go on with what was cut off, if there is anything to go on with; it must end well."""
        if self.last_operation(name) in ("interrupted", "failed", "running") and self.state(name):
            self.cm("cluster", "resume", name, "-y", timeout=900)

    def judge(self) -> None:
        """Verify what is called ready; then delete everything, and compare what is there with what was there before."""
        for name, state in self.states().items():
            if state == "ready":
                answer = self.cm("cluster", "verify", name, expect=None, timeout=600)
                if answer.exit:
                    self.false.append(f"{name} was called ready: {answer.stderr.strip().splitlines()[-1]}")
        for name in self.states():
            answer = self.cm("cluster", "delete", name, "-y", expect=None, timeout=900)
            if answer.exit:
                self.left += [line.strip() for line in answer.stderr.splitlines() if "left:" in line] or [str(answer)]
        self.left += list(self.states())


@dataclass(frozen=True)
class Case:
    """A fault at an instant of an operation.

    Args:
        name: what is done, and what happens then.
        provider: local, baremetal or openstack.
        run: does it, and returns how it ended in a few words.

    """

    name: str
    provider: str
    run: Callable[[Trial], str]

    def __str__(self) -> str:
        return f"{self.provider}: {self.name}"


@dataclass(frozen=True)
class Row:
    """What came of a case; `ended` begins with "WRONG" where it did not end as it should."""

    case: str
    provider: str
    ended: str
    left: tuple[str, ...]
    false: tuple[str, ...]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing is left, nothing was called ready that was not, and it ended as it should."""
        return not self.left and not self.false and not self.ended.startswith("WRONG")


def own_home(cache: Path) -> CommandLine:
    """Return `cm` with a new home that has the profile `slow` and the plugin `box`; temporary files go there, too."""
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    (home / "profiles.d").mkdir(parents=True)
    (home / "profiles.d" / "slow.yaml").write_text(PROFILE)
    write_plugin(home, "box", PLUGIN)
    (home / "clusters" / "tmp").mkdir(parents=True)
    return CommandLine(home, cache, environ={"TMPDIR": str(home / "clusters" / "tmp")})


@contextmanager
def trial(cache: Path) -> Iterator[Trial]:
    """Yield a trial on this machine, and judge what it leaves here."""
    cm = own_home(cache)
    before = traces(cm.home)
    tried = Trial(cm)
    try:
        yield tried
        tried.judge()
        after = traces(cm.home)
        tried.left += [f"{kind}: {each}" for kind in after for each in after[kind] if each not in before[kind]]
    finally:
        for name in tried.states():
            cm("cluster", "delete", name, "--force", "-y", expect=None)
        shutil.rmtree(cm.home, ignore_errors=True)


def carry_out(case: Case, cache: Path) -> Row:
    """Run a case and return what came of it."""
    began = time.monotonic()
    ended, seen = "", Trial(CommandLine(Path(), cache))
    try:
        with trial(cache) as seen:
            ended = case.run(seen)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        ended = f"WRONG: {error}"
    return Row(case.name, case.provider, ended, tuple(seen.left), tuple(seen.false), time.monotonic() - began)
