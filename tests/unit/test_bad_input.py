"""Bad input, wherever it stands: exit 2, nothing made, one clear message with what to type next."""

from __future__ import annotations

import io
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster.cli.main import main
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Check, Cluster, Node, Profile
from cloudmesh_cluster.nodes.keys import KeyPair
from cloudmesh_cluster.nodes.user_data import LIMIT, user_data
from cloudmesh_cluster.operations.scale import wanted_workers
from cloudmesh_cluster.state.locks import cluster_lock
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.schema import SCHEMA_VERSION
from cloudmesh_cluster.state.store import State

FILES = {
    "malformed.yaml": "name: a\nroles: {worker: {count: 2}\n",
    "twice.yaml": "name: a\nname: b\n",
    "role.yaml": "roles: {wroker: {count: 1}}\n",
    "none.yaml": "roles: {worker: {count: 0}}\n",
    "minus.yaml": "roles: {worker: {count: -1}}\n",
    "plugin.yaml": "plugins: [hadop]\n",
    "provider.yaml": "provider: opnstack\n",
    "script.yaml": "scripts: {all: [missing.sh]}\n",
    "folder.yaml": "scripts: {all: [folder]}\n",
    "volumes.yaml": (
        "provider: baremetal\n"
        "machines: {head: [192.0.2.1], compute: [192.0.2.2]}\n"
        "roles: {worker: {count: 1, volumes: [{size: 5, mount: /data}]}}\n"
    ),
    "checks.yaml": (
        "checks:\n"
        "  - {name: far, on: worker-9, run: 'true'}\n"
        "  - {name: typo, on: wroker, run: 'true'}\n"
        "  - {name: good, on: cluster, run: 'true'}\n"
    ),
}

# What is typed; what the message says; what it tells to do.
BEFORE_A_CLUSTER = [
    ("create u -p nope", "no profile named 'nope'", "known: conda, dask, default, "),
    ("create u -p defalt", "no profile named 'defalt'", "did you mean 'default'?"),
    ("create u -p ./missing.yaml", "missing.yaml: can't be read: No such file", ""),
    ("create u --provider nope", "no provider named 'nope'", "known: local, openstack, baremetal"),
    ("create u --provider lokal", "no provider named 'lokal'", "did you mean 'local'?"),
    ("create u -p ./provider.yaml", "no provider named 'opnstack'", "did you mean 'openstack'?"),
    ("create u -p ./plugin.yaml", "no plugin named 'hadop'", "did you mean 'hadoop'?"),
    ("create u -p ./volumes.yaml", "provider baremetal makes no volumes", "mount those disks yourself"),
    ("create U", "'U' is not a name for a cluster", "a lower-case letter, then"),
    ("create u_x", "'u_x' is not a name for a cluster", "a lower-case letter, then"),
    ("create 1u", "'1u' is not a name for a cluster", "a lower-case letter, then"),
    ("create u.x", "'u.x' is not a name for a cluster", "a lower-case letter, then"),
    ("create ../u", "'../u' is not a name for a cluster", "a lower-case letter, then"),
    ("create -- -u", "'-u' is not a name for a cluster", "a lower-case letter, then"),
    (f"create {'u' * 31}", "is not a name for a cluster", "up to 29"),
    ("create u -n 0", "-n 0: a cluster has 1 to 10000 workers", "-n 3"),
    ("create u -n -1", "-n -1: a cluster has 1 to 10000 workers", "-n 3"),
    ("create u -n two", "expected a whole number, got 'two'", "cm cluster create --help"),
    ("create u -n 1000000", "-n 1000000: a cluster has 1 to 10000 workers", "-n 3"),
    ("create u -p ./none.yaml", "none.yaml:1:25: roles.worker.count: expected at least 1, got 0", ""),
    ("create u -p ./minus.yaml", "minus.yaml:1:25: roles.worker.count: expected at least 1, got -1", ""),
    ("create u -p ./role.yaml", "role.yaml:1:9: roles.wroker: unknown key", "did you mean 'worker'?"),
    ("create u -p ./malformed.yaml", "malformed.yaml:3:1: is no YAML: expected ',' or '}'", "which starts in line 2"),
    ("create u -p ./twice.yaml", "twice.yaml:2:1: name: is given twice", "first in line 1"),
    ("create u -p ./script.yaml", "script.yaml:1:17: scripts.all[0]: 'missing.sh' can't be read", "relative to"),
    ("create u -p ./folder.yaml", "folder.yaml:1:17: scripts.all[0]: 'folder' can't be read", "relative to"),
    ("create u -p ./checks.yaml", "check 'far': on: no target named 'worker-9'", "did you mean 'worker-2'?"),
    ("create u -p ./checks.yaml", "check 'typo': on: no target named 'wroker'", "did you mean 'worker'?"),
    ("create u --set memory", "--set memory: expected KEY=VALUE", "--set roles.worker.memory=2G"),
    ("create u --set roles.worker.count=0", "roles.worker.count: expected at least 1, got 0", ""),
    ("create u --timeout soon", "'soon' is no duration", "5s, 2m, 1h"),
    ("create u --timeout 0", "'0' is no time at all", "cm cluster create --help"),
    ("create", "required: NAME", "cm cluster create --help"),
    ("craete u", "unknown command 'cluster craete'", "did you mean 'create'?"),
    ("create u --workrs 3", "unknown arguments: --workrs", "did you mean '--workers'?"),
    ("verify u", "no cluster named 'u'", "cm cluster create u"),
    ("verify ../../u", "no cluster named '../../u'", ""),
    ("delete u -y", "no cluster named 'u'", "cm cluster list"),
]

WITH_A_CLUSTER = [
    ("create t", "there is a cluster named 't' already", "cm cluster show t"),
    ("nodes tt", "no cluster named 'tt'", "did you mean 't'?"),
    ("nodes t -c nme", "no column named 'nme'", "did you mean 'name'?"),
    ("write t mastr -- true", "no role named 'mastr'", "did you mean 'master'?"),
    ("write t master --expect ( -- true", "--expect '(' is not a pattern", "regular expression"),
    ("write t master", "the script is empty", "cm cluster write --help"),
    ("write t master --file missing.sh", "missing.sh: can't be read: No such file", "name a file"),
    ("write t master --file folder", "folder: can't be read: Is a directory", "name a file"),
    ("write t master --undo missing.sh -- true", "missing.sh: can't be read", "name a file"),
    ("write t master --on-failure undo -- true", "--on-failure undo needs a script", "--undo FILE"),
    ("cmd t -t worker-9 -- true", "no target named 'worker-9'", "did you mean 'worker-2'?"),
    ("cmd t -t 7 -- true", "no target named '7'", "there are nodes 0-2"),
    ("cmd t -t 1-3 -- true", "no target named '1-3'", "there are nodes 0-2"),
    ("cmd t -t all,nobody -- true", "no target named 'nobody'", "expected all, master"),
    ("cmd t", "no command was given", "cm cluster cmd --help"),
    ("ssh t -t worker -- true", "'worker' names 2 nodes", "one of worker-1, worker-2"),
    ("put t missing /tmp/", "missing: not a file that can be read", "tar a folder first"),
    ("put t folder /tmp/", "folder: not a file that can be read", "tar a folder first"),
    ("get t /etc/hosts twice.yaml -t master", "twice.yaml exists; get never overwrites", "another place"),
    ("scale t 0", "needs at least 1 worker, 0 leaves 0", "cm cluster delete"),
    ("scale t -2", "needs at least 1 worker, -2 leaves 0", "cm cluster delete"),
    ("scale t many", "'many' is no number of workers", "+N or -N"),
    ("replace t worker-7", "no target named 'worker-7'", "did you mean 'worker-2'?"),
    ("replace t worker", "'worker' names 2 nodes", "cm cluster replace t worker-1"),
    ("status t hadoop", "no plugin on the cluster named 'hadoop'", "cm cluster install t hadoop"),
    ("start t hadoop", "no plugin on the cluster named 'hadoop'", "cm cluster install t hadoop"),
    ("install t hadop", "no plugin named 'hadop'", "did you mean 'hadoop'?"),
    ("scripts t --show 3", "no script named '3'", "cm cluster scripts t"),
    ("inventory t -F xml", "invalid choice: 'xml'", "cm cluster inventory --help"),
    ("delete t", "Delete t with everything on the nodes?", "-y"),
    ("resume t", "nothing to resume on cluster 't'", "cm cluster history t"),
]

Run = Callable[..., str]


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a fresh home, with the bad files in the working directory and nothing on standard input."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    Path("folder").mkdir()
    monkeypatch.setenv("CM_HOME", str(Path(home) / "own"))  # in a folder that nobody else writes to
    monkeypatch.setenv("CM_CACHE", str(tmp_path / "cache"))
    for name in ("OS_CLOUD", "OS_AUTH_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    return Home.from_environment(os.environ)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a line, sees that it ends with exit 2, and returns the message."""

    def run(*words: str) -> str:
        code = main(list(words))
        said = capsys.readouterr().err

        assert code == 2, said
        assert "Traceback" not in said
        assert "bug" not in said
        message = said[said.rindex("cm: ") :]
        assert len(message.splitlines()) <= 3, "a clear message is short"
        return message

    return run


@pytest.fixture
def cluster(place: Home) -> Iterator[Home]:
    """Return a home whose journal knows a cluster `t` of two workers, none of which exists."""
    names = ("t-master", "t-worker-1", "t-worker-2")
    nodes = tuple(
        Node(name, "worker" if index else "master", index, "running", f"10.88.0.{10 + index}")
        for index, name in enumerate(names)
    )
    with State(place) as state:
        profile = Profile("default", "default.yaml")
        record = ClusterRecord(profile, "local", {}, "10.88.0.0/16")
        state.add_cluster(Cluster("t", "ready", "local", "default", "2026-01-01T00:00:00+00:00", nodes), record)
    yield place


@pytest.mark.parametrize(("line", "message", "hint"), BEFORE_A_CLUSTER, ids=[row[0][:40] for row in BEFORE_A_CLUSTER])
def test_bad_input_makes_nothing(place: Home, refused: Run, line: str, message: str, hint: str) -> None:
    """What can't become a cluster is refused with a reason and a way out; the home stays empty."""
    said = refused("cluster", *line.split())

    assert message in said
    assert hint in said
    assert_nothing_made(place, clusters=[])


@pytest.mark.parametrize(("line", "message", "hint"), WITH_A_CLUSTER, ids=[row[0][:40] for row in WITH_A_CLUSTER])
def test_bad_input_touches_no_cluster(cluster: Home, refused: Run, line: str, message: str, hint: str) -> None:
    """What can't be done to a cluster is refused with a reason and a way out; no operation begins."""
    with State(cluster) as state:
        before = state.cluster("t")
    said = refused("cluster", *line.split())

    assert message in said
    assert hint in said
    assert_nothing_made(cluster, clusters=["t"])
    with State(cluster) as state:
        assert before == state.cluster("t")


def assert_nothing_made(home: Home, *, clusters: list[str]) -> None:
    """Assert that a home holds no row and no file more than what is expected."""
    with State(home) as state:
        assert clusters == state.cluster_names()
        assert [] == state.operations()
    assert [] == list(home.clusters.iterdir())
    assert not home.cache.exists() or not any(home.cache.iterdir())
    assert [home.root] == list(home.root.parent.iterdir()), "no name leads out of the home"


def test_all_problems_of_a_profile_are_told_at_once(place: Home, refused: Run) -> None:
    """Two checks that name nothing are two lines of one message."""
    said = refused("cluster", "create", "u", "-p", "./checks.yaml").splitlines()

    assert 2 == len(said)
    assert "far" in said[0]
    assert "typo" in said[1]


def test_a_dry_run_refuses_what_create_refuses(place: Home, refused: Run) -> None:
    """--dry-run prints no plan that create would not carry out."""
    assert "no target named 'worker-9'" in refused("cluster", "create", "u", "-p", "./checks.yaml", "--dry-run")


def test_a_smaller_cluster_keeps_what_its_checks_look_at(cluster: Home, refused: Run) -> None:
    """Scaling below a node that a check names is refused: the smaller cluster could never be verified."""
    with State(cluster) as state:
        record = state.record("t")
        profile = replace(record.profile, checks=(Check("last", on="worker-2", run="true"),))
        state.put_record("t", replace(record, profile=profile))

    assert "check 'last': on: no target named 'worker-2'" in refused("cluster", "scale", "t", "1")


@pytest.mark.parametrize("count", ["0", "-2", "-9"])
def test_a_cluster_has_a_worker(count: str) -> None:
    """No count leads below one worker."""
    with pytest.raises(UsageError, match="at least 1 worker"):
        wanted_workers(count, 2)


def test_a_busy_cluster_says_who_works_on_it(cluster: Home, refused: Run) -> None:
    """The second operation learns at once which process holds the cluster, what for and since when."""
    with cluster_lock(cluster, "t", operation="scale"):
        said = refused("cluster", "scale", "t", "+1")

    assert f"cluster 't' is busy: scale (process {os.getpid()}, since 20" in said
    assert "wait" in said
    assert_nothing_made(cluster, clusters=["t"])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_providers_that_others_can_read_are_refused(place: Home, refused: Run, mode: int) -> None:
    """`providers.yaml` holds passwords: when others may read it, nothing is made until that is mended."""
    place.root.mkdir(exist_ok=True)
    place.providers_file.write_text("default: local\n")
    place.providers_file.chmod(mode)

    assert f"chmod 600 {place.providers_file}" in refused("cluster", "create", "u")
    assert_nothing_made(place, clusters=[])


@pytest.mark.parametrize("home", ["/proc/nope", "/dev/null", "/dev/null/x"])
def test_a_home_that_cannot_be_is_named(place: Home, refused: Run, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    """A CM_HOME that is no folder, or can't be made, is exit 2 for every command."""
    monkeypatch.setenv("CM_HOME", home)
    for line in ("list", "create u", "delete u -y"):
        said = refused("cluster", *line.split())
        assert home in said
        assert "CM_HOME" in said


def test_a_journal_of_a_newer_version_is_left_alone(place: Home, refused: Run) -> None:
    """An older cm refuses the journal of a newer one and doesn't change a byte of it."""
    with State(place):
        pass
    with sqlite3.connect(place.state_file) as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    database.close()
    before = place.state_file.read_bytes()
    said = refused("cluster", "create", "u")

    assert f"the journal has version {SCHEMA_VERSION + 1}, this cm knows {SCHEMA_VERSION}" in said
    assert "another CM_HOME" in said
    assert before == place.state_file.read_bytes()


def test_what_is_no_journal_is_left_alone(place: Home, refused: Run) -> None:
    """A file in the journal's place that is none is refused, and kept."""
    place.make()
    place.state_file.write_text("my own notes, not a database")

    assert "can't be used" in refused("cluster", "list")
    assert "my own notes, not a database" == place.state_file.read_text()


def test_user_data_that_no_cloud_takes_is_refused() -> None:
    """User data beyond what clouds accept is refused with both numbers, before any node is made."""
    node = Node("t-worker-1", "worker", 1, "planned", "10.0.0.2")
    key = f"ssh-ed25519 {'A' * LIMIT} me"
    with pytest.raises(UsageError, match=rf"user data of t-worker-1 has \d+ bytes, clouds accept {LIMIT}"):
        user_data(
            cluster="t", operation="o", node=node, nodes=[node], user="cm", login_public_key=key,
            bootstrap=KeyPair(b"private", "ssh-ed25519 AAAA cm-bootstrap o"), cidr="10.0.0.0/24", deadline=10,
        )  # fmt: skip
