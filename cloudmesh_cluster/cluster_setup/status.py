"""What a scheduler says of itself and its workers, as data that can be read, shown and compared."""

from __future__ import annotations

import pprint
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from textwrap import shorten

from cloudmesh_cluster.core.amounts import counted

NOT_CONNECTED = "Not connected to a scheduler."
HEADS = ("worker", "host", "state", "cores", "memory", "used", "tasks")


@dataclass(frozen=True)
class WorkerStatus:
    """One worker.

    Args:
        worker: its name.
        host: the address of its machine.
        state: as its scheduler says: running, paused, ALIVE, DEAD...
        cores: how many it offers.
        memory: bytes it may use; 0 when there is no limit.
        used: bytes in use (Spark: bytes that applications have reserved).
        tasks: how many it works on, or has waiting (Spark: how many cores applications have reserved).
        versions: of Python and of libraries, by name; empty when unknown.

    """

    worker: str
    host: str
    state: str
    cores: int
    memory: int
    used: int
    tasks: int
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A node whose Python or library is not the one that is used here; an empty version means that it has none."""

    node: str
    package: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.node} has {self.package} {self.there or 'not'}, here it is {self.here or 'missing'}"


@dataclass(frozen=True, repr=False)
class Status:
    """A scheduler and its workers at one moment.

    Args:
        system: Dask or Spark.
        scheduler: its address; empty when there is no connection.
        dashboard: the address of its web page; empty when it has none.
        workers: all of them, by name.
        tasks: how many tasks there are in which state, by state.
        versions: of Python and of libraries here, by name.
        differences: which node differs from here, and in what.
        settings: those of the connection (Spark), without secrets.
        depth: how many levels of the settings are shown; None is all.

    """

    system: str
    scheduler: str = ""
    dashboard: str = ""
    workers: tuple[WorkerStatus, ...] = ()
    tasks: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    depth: int | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection at all."""
        return bool(self.scheduler)

    @property
    def cores(self) -> int:
        """All cores of all workers."""
        return sum(worker.cores for worker in self.workers)

    @property
    def memory(self) -> int:
        """The memory of all workers in bytes; those without a limit count nothing."""
        return sum(worker.memory for worker in self.workers)

    def __str__(self) -> str:
        if not self.connected:
            return NOT_CONNECTED
        rows = [HEADS, *self._cells()]
        widths = [max(len(row[at]) for row in rows) for at in range(len(HEADS))]
        table = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
        return "\n".join([*self._heading(), *(table if self.workers else ()), *self._remarks()])

    def __repr__(self) -> str:
        # At a prompt this is what is seen, and the table is what is wanted.
        return str(self)

    def _repr_html_(self) -> str:
        if not self.connected:
            return f"<p>{NOT_CONNECTED}</p>"
        lines = "".join(f"<p>{escape(line)}</p>" for line in self._heading())
        heads = "".join(f"<th>{head}</th>" for head in HEADS)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self._cells())
        remarks = "".join(f"<pre>{escape(line)}</pre>" for line in self._remarks())
        return f"{lines}<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{remarks}"

    def _heading(self) -> Sequence[str]:
        first = (
            f"{self.system} scheduler {self.scheduler}: {counted(len(self.workers), 'worker')}, "
            f"{counted(self.cores, 'core')}, {size(self.memory)}"
        )
        lines = [first, f"dashboard: {self.dashboard}" if self.dashboard else ""]
        if self.tasks:
            lines.append("tasks: " + ", ".join(f"{number} {state}" for state, number in self.tasks.items()))
        return [line for line in lines if line]

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (w.worker, w.host, w.state, str(w.cores), size(w.memory) if w.memory else "no limit", size(w.used),
             str(w.tasks))
            for w in self.workers
        ]  # fmt: skip

    def _remarks(self) -> Sequence[str]:
        remarks = [f"warning: {difference}" for difference in self.differences]
        if self.settings:
            short = [(key, shorten(value, 80, placeholder="...")) for key, value in sorted(self.settings.items())]
            remarks.append("settings: " + pprint.pformat(short, depth=self.depth, width=110))
        return remarks


def size(count: float) -> str:
    """Return bytes in the largest unit of which there is at least one: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def differences(here: Mapping[str, str], there: Mapping[str, Mapping[str, str]]) -> tuple[Difference, ...]:
    """Compare versions.

    Args:
        here: those of this interpreter, by package.
        there: those of each node, by its name; a package that a node says nothing of is not compared.

    """
    return tuple(
        Difference(node, package, versions[package], version)
        for node, versions in sorted(there.items())
        for package, version in here.items()
        if package in versions and versions[package] != version
    )
