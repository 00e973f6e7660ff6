"""The journal: what there is, what was done and how to undo it, in one SQLite file.

Homes are on NFS, where SQLite's write-ahead log does not work: rollback journal, `synchronous=FULL`, and every
transaction begins with `BEGIN IMMEDIATE`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from cloudmesh_cluster.core.codec import decode, encode
from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.events import Event, now
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult, Cluster, CommandResult, HostKeys, Node, ScriptExpectation, Verdict
from cloudmesh_cluster.state.journal_file import JournalFile
from cloudmesh_cluster.state.records import (
    LOOKING,
    WORKING,
    ClusterRecord,
    Operation,
    Step,
    WrittenScript,
)
from cloudmesh_cluster.state.schema import ensure_schema

T = TypeVar("T")


class State:
    """The journal of one home. Cheap to open; each method is one transaction.

    Raises:
        UsageError: the file is damaged, can't be written, or a newer `cm` wrote it. Every method may raise it.

    """

    def __init__(self, home: Home) -> None:
        home.make()
        self._db = JournalFile.open(home.state_file)
        try:
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            ensure_schema(self._db)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _decoded(self, kind: type[T], text: str) -> T:
        return self._db.decoded(partial(decode, kind), text)

    def _verdict(self, text: str | None) -> Verdict | None:
        return self._decoded(Verdict, text) if text else None

    # Clusters and nodes

    def add_cluster(self, cluster: Cluster, record: ClusterRecord, scripts: Sequence[WrittenScript] = ()) -> None:
        """Store a new cluster with its nodes and the scripts that all of them will run."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO clusters (name, state, provider, profile, created_at, record) VALUES (?, ?, ?, ?, ?, ?)",
                (cluster.name, cluster.state, cluster.provider, cluster.profile, cluster.created_at, encode(record)),
            )
            self._put_nodes(db, cluster.name, cluster.nodes)
            for script in scripts:
                self._add_script(db, cluster.name, script)

    def clusters(self) -> list[Cluster]:
        """Return all clusters with their nodes, by name."""
        return [self._cluster(row) for row in self._db.execute("SELECT * FROM clusters ORDER BY name")]

    def cluster_names(self) -> list[str]:
        """Return the names of all clusters."""
        return [row["name"] for row in self._db.execute("SELECT name FROM clusters ORDER BY name")]

    def cluster(self, name: str) -> Cluster:
        """Return a cluster.

        Raises:
            NotFound: there is none of that name.

        """
        return self._cluster(self._cluster_row(name))

    def record(self, name: str) -> ClusterRecord:
        """Return what is kept of a cluster beyond its row."""
        return self._decoded(ClusterRecord, self._cluster_row(name)["record"])

    def cluster_id(self, name: str) -> str:
        """Return the random id of a cluster; empty when it has none, or is not known here."""
        return self.record(name).cluster_id if name in self.cluster_names() else ""

    def put_record(self, name: str, record: ClusterRecord) -> None:
        """Replace what is kept of a cluster beyond its row."""
        with self._db.transaction() as db:
            db.execute("UPDATE clusters SET record=? WHERE name=?", (encode(record), name))

    def set_cluster_state(self, name: str, state: str) -> None:
        """Set the state of a cluster: creating, ready, stopped, failed, deleting..."""
        with self._db.transaction() as db:
            db.execute("UPDATE clusters SET state=? WHERE name=?", (state, name))

    def put_verdict(self, name: str, verdict: Verdict) -> None:
        """Store what a verification found; a cluster that is whole is ready or unhealthy by it."""
        with self._db.transaction() as db:
            db.execute("UPDATE clusters SET verdict=? WHERE name=?", (encode(verdict), name))
            marks = ", ".join("?" * len(WORKING))
            db.execute(
                f"UPDATE clusters SET state=? WHERE name=? AND state IN ({marks})",  # noqa: S608 - only marks
                (_state_after(verdict), name, *WORKING),
            )

    def set_whole(self, name: str) -> None:
        """Set the state of a cluster on which nothing is half done: ready or unhealthy, by its last verification."""
        with self._db.transaction():
            row = self._db.execute("SELECT verdict FROM clusters WHERE name=?", (name,)).fetchone()
            state = _state_after(self._verdict(row["verdict"])) if row else ""
            self._db.execute("UPDATE clusters SET state=? WHERE name=?", (state, name))

    def remove_cluster(self, name: str) -> None:
        """Forget a cluster, its nodes and scripts; the history stays."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM clusters WHERE name=?", (name,))

    def put_nodes(self, cluster: str, nodes: Sequence[Node]) -> None:
        """Store nodes, replacing those of the same index; a node keeps its keys as long as it is the same machine."""
        with self._db.transaction() as db:
            self._put_nodes(db, cluster, nodes)

    def remove_nodes(self, cluster: str, names: Sequence[str]) -> None:
        """Forget nodes by name."""
        with self._db.transaction() as db:
            db.executemany("DELETE FROM nodes WHERE cluster=? AND name=?", [(cluster, name) for name in names])

    def forget_boots(self, cluster: str, names: Sequence[str]) -> None:
        """Make nodes planned ones once more: they have no keys yet."""
        with self._db.transaction() as db:
            db.executemany(
                "UPDATE nodes SET state='planned', host_keys='[]', host_key_from=NULL, public_key=''"
                " WHERE cluster=? AND name=?",
                [(cluster, name) for name in names],
            )

    def put_host_keys(self, cluster: str, node: str, host_keys: HostKeys) -> None:
        """Pin the host keys of a node."""
        with self._db.transaction() as db:
            db.execute(
                "UPDATE nodes SET host_keys=?, host_key_from=? WHERE cluster=? AND name=?",
                (json.dumps(host_keys.keys), host_keys.source, cluster, node),
            )

    def put_reached(self, cluster: str, node: Node, *, public_key: str) -> None:
        """Store a node that was reached, and the public half of the key it made itself."""
        with self._db.transaction() as db:
            self._put_nodes(db, cluster, [node])
            db.execute("UPDATE nodes SET public_key=? WHERE cluster=? AND name=?", (public_key, cluster, node.name))

    def host_keys(self, cluster: str) -> dict[str, list[str]]:
        """Return the pinned host keys by node name."""
        rows = self._db.execute("SELECT name, host_keys FROM nodes WHERE cluster=? ORDER BY idx", (cluster,))
        return {row["name"]: self._db.decoded(json.loads, row["host_keys"]) for row in rows}

    def public_keys(self, cluster: str) -> dict[str, str]:
        """Return the public keys that the nodes made, by node name; a node without one is left out."""
        rows = self._db.execute("SELECT name, public_key FROM nodes WHERE cluster=? ORDER BY idx", (cluster,))
        return {row["name"]: row["public_key"] for row in rows if row["public_key"]}

    def _put_nodes(self, db: sqlite3.Connection, cluster: str, nodes: Sequence[Node]) -> None:
        db.executemany(
            "INSERT INTO nodes (cluster, name, role, idx, state, private_ip, public_ip, provider_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (cluster, idx) DO UPDATE SET state=excluded.state,"
            " private_ip=excluded.private_ip, public_ip=excluded.public_ip, provider_id=excluded.provider_id,"
            " host_keys=iif(provider_id IS excluded.provider_id, host_keys, '[]'),"
            " host_key_from=iif(provider_id IS excluded.provider_id, host_key_from, NULL)",
            [(cluster, n.name, n.role, n.index, n.state, n.private_ip, n.public_ip, n.provider_id) for n in nodes],
        )

    def _cluster_row(self, name: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._db.execute("SELECT * FROM clusters WHERE name=?", (name,)).fetchone()
        if row is None:
            names = self.cluster_names()
            raise NotFound("cluster", name, names, hint="" if names else f"make it: cm cluster create {name}")
        return row

    def _cluster(self, row: sqlite3.Row) -> Cluster:
        rows = self._db.execute("SELECT * FROM nodes WHERE cluster=? ORDER BY idx", (row["name"],))
        nodes = tuple(
            Node(
                n["name"], n["role"], n["idx"], n["state"], n["private_ip"], n["public_ip"], n["provider_id"],
                n["host_key_from"],
            )
            for n in rows
        )  # fmt: skip
        verdict = self._verdict(row["verdict"])
        return Cluster(row["name"], row["state"], row["provider"], row["profile"], row["created_at"], nodes, verdict)

    # Operations, steps and events

    def begin_operation(self, operation: Operation) -> None:
        """Write down an operation before it does anything."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    operation.id, operation.cluster, operation.kind, operation.state, operation.pid,
                    operation.began_at, operation.ended_at, json.dumps(operation.request), operation.error,
                ),
            )  # fmt: skip

    def end_operation(self, operation: str, *, state: str, error: str = "") -> None:
        """Write down how an operation ended."""
        with self._db.transaction() as db:
            db.execute(
                "UPDATE operations SET state=?, ended_at=?, error=? WHERE id=?", (state, now(), error, operation)
            )

    def take_over(self, operation: str, *, pid: int) -> None:
        """Make this process the one that runs an operation which another left behind."""
        with self._db.transaction() as db:
            db.execute("UPDATE operations SET pid=?, state='running' WHERE id=?", (pid, operation))

    def operations(self, cluster: str | None = None) -> list[Operation]:
        """Return the history of a cluster, or of all, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM operations WHERE cluster=? OR ? IS NULL ORDER BY began_at, rowid", (cluster, cluster)
        )
        return [Operation(**{**dict(row), "request": self._db.decoded(json.loads, row["request"])}) for row in rows]

    def unfinished(self, cluster: str) -> Operation | None:
        """Return the newest change of a cluster if it says that it runs; whoever holds the lock knows it does not."""
        newest = self.newest_change(cluster)
        return newest if newest is not None and newest.state == "running" else None

    def newest_change(self, cluster: str) -> Operation | None:
        """Return the newest operation on a cluster that changes things."""
        changes = [each for each in self.operations(cluster) if each.kind not in LOOKING]
        return changes[-1] if changes else None

    def begin_step(self, operation: str, name: str, undo: dict[str, Any] | None) -> int:
        """Write down a step and how to undo it, before it is done; return its id."""
        with self._db.transaction() as db:
            cursor = db.execute(
                "INSERT INTO steps (operation, name, state, undo, began_at) VALUES (?, ?, 'begun', ?, ?)",
                (operation, name, None if undo is None else json.dumps(undo), now()),
            )
            return int(cursor.lastrowid or 0)

    def end_step(self, step: int, *, state: str) -> None:
        """Write down that a step is done, failed or undone."""
        with self._db.transaction() as db:
            db.execute("UPDATE steps SET state=?, ended_at=? WHERE id=?", (state, now(), step))

    def steps(self, operation: str) -> list[Step]:
        """Return the steps of an operation, oldest first."""
        rows = self._db.execute("SELECT * FROM steps WHERE operation=? ORDER BY id", (operation,))
        return [
            Step(
                row["id"], row["name"], row["state"],
                self._db.decoded(json.loads, row["undo"]) if row["undo"] else None,
            )
            for row in rows
        ]  # fmt: skip

    def add_events(self, operation: str, events: Sequence[Event]) -> None:
        """Store what an operation told the world."""
        with self._db.transaction() as db:
            db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(operation, e.at, e.kind, e.step, e.node, e.message, e.seconds) for e in events],
            )

    def events(self, cluster: str) -> list[tuple[str, Event]]:
        """Return a cluster's events with the operation each belongs to, oldest first."""
        rows = self._db.execute(
            "SELECT e.* FROM events e JOIN operations o ON o.id = e.operation WHERE o.cluster=? ORDER BY e.at, e.rowid",
            (cluster,),
        )
        return [
            (r["operation"], Event(r["kind"], r["step"], r["node"], r["message"], r["seconds"], r["at"])) for r in rows
        ]

    def add_checks(self, operation: str, results: Sequence[CheckResult]) -> None:
        """Store what checks found."""
        with self._db.transaction() as db:
            db.executemany(
                "INSERT INTO checks VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(operation, r.check, r.node, r.expected, r.actual, r.ok, r.seconds) for r in results],
            )

    def checks(self, operation: str) -> list[CheckResult]:
        """Return what the checks of an operation found, in the order in which they were stored."""
        rows = self._db.execute("SELECT * FROM checks WHERE operation=? ORDER BY rowid", (operation,))
        return [
            CheckResult(r["name"], r["node"], r["expected"], r["actual"], bool(r["ok"]), r["seconds"]) for r in rows
        ]

    # Written scripts

    def add_script(self, cluster: str, script: WrittenScript) -> int:
        """Store a script before it runs; return its id."""
        with self._db.transaction() as db:
            return self._add_script(db, cluster, script)

    def _add_script(self, db: sqlite3.Connection, cluster: str, script: WrittenScript) -> int:
        cursor = db.execute(
            "INSERT INTO scripts (cluster, role, name, digest, content, written_at, state, expect, operation)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                cluster, script.role, script.name, script.digest, script.content, script.written_at,
                script.state, encode(script.expect), script.operation,
            ),
        )  # fmt: skip
        return int(cursor.lastrowid or 0)

    def remember_script(self, script: int, *, waived: Sequence[str] = ()) -> None:
        """Keep a script for the nodes to come; the nodes named in `waived` need not have run it."""
        with self._db.transaction() as db:
            rows = [(script, node, now()) for node in waived]
            db.executemany("INSERT OR IGNORE INTO runs VALUES (?, ?, NULL, 0, ?)", rows)
            db.execute("UPDATE scripts SET state='remembered' WHERE id=?", (script,))

    def forget_script(self, script: int) -> None:
        """Forget a script that failed."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM scripts WHERE id=?", (script,))

    def scripts(self, cluster: str) -> list[WrittenScript]:
        """Return the scripts of a cluster in the order in which they were written."""
        rows = self._db.execute("SELECT * FROM scripts WHERE cluster=? ORDER BY id", (cluster,))
        return [
            WrittenScript(
                r["id"],
                r["role"],
                r["name"],
                r["digest"],
                r["content"],
                r["written_at"],
                r["state"],
                r["operation"],
                self._decoded(ScriptExpectation, r["expect"]),
            )
            for r in rows
        ]

    def add_runs(self, script: int, results: Sequence[CommandResult]) -> None:
        """Store what a script answered on nodes."""
        self._put_runs(script, [(r.node, r.exit, r.seconds) for r in results])

    def add_exits(self, script: int, exits: Mapping[str, int]) -> None:
        """Store how a script ended, by node, when somebody else has run it."""
        self._put_runs(script, [(node, status, 0.0) for node, status in exits.items()])

    def _put_runs(self, script: int, runs: Sequence[tuple[str, int, float]]) -> None:
        with self._db.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
                [(script, node, status, seconds, now()) for node, status, seconds in runs],
            )

    def runs(self, script: int) -> dict[str, int | None]:
        """Return the exit status of a script by node; None where it is not meant to run."""
        rows = self._db.execute("SELECT node, exit FROM runs WHERE script=? ORDER BY node", (script,))
        return {row["node"]: row["exit"] for row in rows}


def _state_after(verdict: Verdict | None) -> str:
    return "unhealthy" if verdict is not None and verdict.failed else "ready"
