"""The tables of the journal."""

from __future__ import annotations

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.state.journal_file import JournalFile

SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE clusters (
    name TEXT PRIMARY KEY, state TEXT NOT NULL, provider TEXT NOT NULL, profile TEXT NOT NULL,
    created_at TEXT NOT NULL, record TEXT NOT NULL, verdict TEXT);
CREATE TABLE nodes (
    cluster TEXT NOT NULL REFERENCES clusters(name) ON DELETE CASCADE, name TEXT NOT NULL, role TEXT NOT NULL,
    idx INTEGER NOT NULL, state TEXT NOT NULL, private_ip TEXT NOT NULL, public_ip TEXT, provider_id TEXT,
    host_keys TEXT NOT NULL DEFAULT '[]', public_key TEXT NOT NULL DEFAULT '', host_key_from TEXT,
    PRIMARY KEY (cluster, idx));
CREATE TABLE operations (
    id TEXT PRIMARY KEY, cluster TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, pid INTEGER NOT NULL,
    began_at TEXT NOT NULL, ended_at TEXT, request TEXT NOT NULL, error TEXT NOT NULL DEFAULT '');
CREATE TABLE steps (
    id INTEGER PRIMARY KEY, operation TEXT NOT NULL REFERENCES operations(id), name TEXT NOT NULL,
    state TEXT NOT NULL, undo TEXT, began_at TEXT NOT NULL, ended_at TEXT);
CREATE TABLE scripts (
    id INTEGER PRIMARY KEY, cluster TEXT NOT NULL REFERENCES clusters(name) ON DELETE CASCADE,
    role TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, content BLOB NOT NULL, written_at TEXT NOT NULL,
    state TEXT NOT NULL, expect TEXT NOT NULL, operation TEXT NOT NULL);
CREATE TABLE runs (
    script INTEGER NOT NULL REFERENCES scripts(id) ON DELETE CASCADE, node TEXT NOT NULL, exit INTEGER,
    seconds REAL NOT NULL, at TEXT NOT NULL, PRIMARY KEY (script, node));
CREATE TABLE checks (
    operation TEXT NOT NULL REFERENCES operations(id), name TEXT NOT NULL, node TEXT NOT NULL,
    expected TEXT NOT NULL, actual TEXT NOT NULL, ok INTEGER NOT NULL, seconds REAL NOT NULL);
CREATE TABLE events (
    operation TEXT NOT NULL REFERENCES operations(id), at TEXT NOT NULL, kind TEXT NOT NULL, step TEXT NOT NULL,
    node TEXT NOT NULL, message TEXT NOT NULL, seconds REAL);
CREATE INDEX events_of_operation ON events(operation);
CREATE INDEX operations_of_cluster ON operations(cluster);
"""
# Before version 3 a cluster stayed `ready` whatever its last verification had found.
TO_VERSION = {
    2: "ALTER TABLE nodes ADD COLUMN host_key_from TEXT",
    3: """
ALTER TABLE clusters ADD COLUMN verdict TEXT;
UPDATE clusters SET verdict = (
    SELECT json_object('at', o.ended_at, 'checks', count(*), 'failed', sum(NOT c.ok))
    FROM operations o JOIN checks c ON c.operation = o.id
    WHERE o.cluster = clusters.name AND o.ended_at >= clusters.created_at AND o.state = 'done'
    GROUP BY o.id ORDER BY o.began_at DESC LIMIT 1);
UPDATE clusters SET state = 'unhealthy' WHERE state = 'ready' AND json_extract(verdict, '$.failed') > 0;
""",
}
"""What makes a journal of the version before one of this version."""


def ensure_schema(db: JournalFile) -> None:
    """Make the tables of a new journal, or renew those of an older `cm`.

    Raises:
        UsageError: a newer `cm` has made them.

    """
    version = _version(db)
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"the journal has version {version}, this cm knows {SCHEMA_VERSION}",
            hint="use the version of cm that wrote it, or another CM_HOME",
        )
    if version < SCHEMA_VERSION:
        with db.transaction():
            _renew(db)


def _renew(db: JournalFile) -> None:
    version = _version(db)  # another process may have been here first
    steps = [TO_VERSION[number] for number in range(version + 1, SCHEMA_VERSION + 1)] if version else [SCHEMA]
    for statements in steps:
        for statement in filter(str.strip, statements.split(";")):
            db.execute(statement)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _version(db: JournalFile) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
