"""A damaged journal: every command names the file and what to do next, and shows no traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudmesh_cluster.cli.failures import what_is_left
from cloudmesh_cluster.cli.main import main
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, Node, Profile
from cloudmesh_cluster.state.records import ClusterRecord, Operation
from cloudmesh_cluster.state.store import State

NODES = (Node("t-master", "master", 0, "running", "10.0.0.1"), Node("t-worker-1", "worker", 1, "running", "10.0.0.2"))
CLUSTER = Cluster("t", "ready", "local", "default", "2026-01-01T00:00:00.000+00:00", NODES)
RECORD = ClusterRecord(Profile("default", "default.yaml"), "local", {}, "10.0.0.0/16")
OPERATION = Operation("1-create", "t", "create", "running", 1, "2026-01-01T00:00:01.000+00:00", None, {}, "")
PAGE = 4096
LINES = (
    "cluster list", "cluster show t", "cluster status t", "cluster verify t", "cluster history t", "cluster events t",
    "cluster cmd t -- true", "cluster ssh t", "cluster put t a /b", "cluster scale t +1", "cluster start t",
    "cluster resume t", "cluster report t", "cluster delete t -y", "gc", "doctor",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a home whose journal knows a cluster and an operation that was cut off."""
    monkeypatch.setenv("CM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("a").touch()
    own = Home(tmp_path / "home", tmp_path / "cache")
    with State(own) as state:
        state.add_cluster(CLUSTER, RECORD)
        state.begin_operation(OPERATION)
    return own


def without_tables(file: Path) -> None:
    """Take all tables out of a journal, whose version stays."""
    with sqlite3.connect(file) as database:
        for table in ("runs", "scripts", "checks", "events", "steps", "nodes", "operations", "clusters"):
            database.execute(f"DROP TABLE {table}")
    database.close()


def overwrite_pages(file: Path) -> None:
    """Overwrite all pages but the first."""
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(PAGE)
        opened.write(b"\xa5" * (size - PAGE))


def cut(file: Path) -> None:
    """Keep the first page only."""
    with file.open("r+b") as opened:
        opened.truncate(PAGE)


def write_notes(file: Path) -> None:
    """Replace the database by plain text."""
    file.write_text("my own notes, not a database\n" * 200)


def spoil_texts(file: Path) -> None:
    """Replace the JSON in every table."""
    with sqlite3.connect(file) as database:
        database.execute("UPDATE clusters SET record='{', verdict='[]'")
        database.execute("UPDATE operations SET request='\x01'")
    database.close()


DAMAGES = (without_tables, overwrite_pages, cut, write_notes, spoil_texts)


@pytest.mark.parametrize(
    ("damage", "line"),
    [*((without_tables, line) for line in LINES), *((each, line) for each in DAMAGES[1:] for line in LINES[:2])],
)
def test_every_command_names_a_damaged_journal(
    place: Home, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], line: str
) -> None:
    """Whatever is wrong with the journal, a command ends with 2, its file and what to type next."""
    damage(place.state_file)

    code = main(line.split())
    said = capsys.readouterr().err

    assert code == UsageError.exit_code, said
    assert f"the journal {place.state_file} can't be used" in said
    assert f"mv {place.state_file} {place.state_file}.damaged" in said
    assert "a bug in cm" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_left_is_told_of_a_damaged_journal(place: Home, damage: Callable[[Path], None]) -> None:
    """What is printed when a program is stopped names the damaged file instead of failing itself."""
    damage(place.state_file)

    assert f"the journal {place.state_file} can't be used" in what_is_left(place, "t")


def test_a_transaction_that_damage_ended_says_so(place: Home) -> None:
    """A write into a damaged journal is told as that, not as a rollback that failed."""
    with State(place) as state:
        overwrite_pages(place.state_file)
        with pytest.raises(UsageError, match="it is damaged"):
            state.put_record("t", RECORD)
