"""A cluster to look at: what it is, what happened to it, and how it shows itself."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cloudmesh_cluster.api import foreground
from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult, Cluster, Node, Verdict
from cloudmesh_cluster.core.version import __version__
from cloudmesh_cluster.views.columns import CHECK_COLUMNS, NODE_COLUMNS
from cloudmesh_cluster.views.tables import Picture, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cloudmesh_cluster.operations.queries.report import Report

T = TypeVar("T")
Work = Callable[[Emit], Coroutine[Any, Any, T]]
Progress = bool | Emit | None


class ClusterView:
    """What can be seen of a cluster; the public `Cluster` adds what can be done with it.

    Args:
        name: the cluster's.
        home: whose clusters; None for those of `CM_HOME`.
        progress: whether what happens is shown; see `Cluster`.

    """

    def __init__(self, name: str, *, home: Home | None = None, progress: Progress = None) -> None:
        self.name = name
        self._home = home or Home.from_environment(os.environ)
        self._progress = progress

    @property
    def row(self) -> Cluster:
        """Everything that `cm cluster show` and `nodes` know, as it is now."""
        from cloudmesh_cluster.operations.queries.inspect import cluster

        return cluster(self._home, self.name)

    @property
    def state(self) -> str:
        """`ready`, `unhealthy`, `degraded`, `creating`, `stopped`, `failed`, `interrupted`..."""
        return self.row.state

    @property
    def verdict(self) -> Verdict | None:
        """What the last verification found: when, how many checks there were and how many failed."""
        return self.row.verdict

    @property
    def nodes(self) -> Table[Node]:
        """The nodes, master first, with their states as they are now."""
        return Table(self.row.nodes, NODE_COLUMNS)

    @property
    def checks(self) -> Table[CheckResult]:
        """What the last checks found, good and bad; `verify` checks anew."""
        from cloudmesh_cluster.operations.queries.report import last_checks

        return checks_table(last_checks(self._home, self.name))

    @property
    def scripts(self) -> Table[dict[str, Any]]:
        """What was written to it, in order; nodes that come later run it too."""
        from cloudmesh_cluster.operations.queries.inspect import scripts
        from cloudmesh_cluster.views.columns import SCRIPT_COLUMNS

        return Table(scripts(self._home, self.name, None), SCRIPT_COLUMNS)

    @property
    def history(self) -> Table[dict[str, Any]]:
        """Its operations, oldest first."""
        from cloudmesh_cluster.operations.queries.inspect import history
        from cloudmesh_cluster.views.columns import HISTORY_COLUMNS

        return Table(history(self._home, self.name), HISTORY_COLUMNS)

    @property
    def events(self) -> Table[dict[str, Any]]:
        """What its operations told and what its cloud says, oldest first; it warns where the cloud can't be asked."""
        from cloudmesh_cluster.operations.queries.inspect import events
        from cloudmesh_cluster.views.columns import EVENT_COLUMNS

        rows, problem = events(self._home, self.name)
        if problem:
            warnings.warn(f"without the cloud's own events: {problem}", stacklevel=2)
        return Table(rows, EVENT_COLUMNS)

    @property
    def timeline(self) -> Picture:
        """Where the time of the last operation went: what ran when on which node, what waited for what."""
        from cloudmesh_cluster.views.pages import timeline_svg, title_of

        found = self.report()
        chain = [f"{bar.step} ({bar.node or 'client'}) {bar.seconds:.1f} s" for bar in found.timeline.decisive]
        title = title_of(found)
        picture = timeline_svg(found.timeline, title=title, back="#fff")
        return Picture(picture, text=f"{title}: " + " → ".join(chain))

    def status(self, plugin: str | None = None) -> Table[dict[str, Any]]:
        """Return what each plugin, or one of them, says of itself on each node."""
        from cloudmesh_cluster.operations.services import status
        from cloudmesh_cluster.views.columns import STATUS_COLUMNS

        rows = self._run("status", lambda emit: status(self._home, self.name, plugin, emit), quiet=True)
        return Table(rows, STATUS_COLUMNS)

    def report(self, html: str | Path | None = None, *, operation: str | None = None) -> Report:
        """Return what an operation did, when and where; write it as a web page, too, if a file is given.

        Args:
            html: the file.
            operation: its id (see `history`); None for the last that changed something.

        """
        from cloudmesh_cluster.operations.queries.report import report

        found = report(self._home, self.name, operation)
        if html is not None:
            from cloudmesh_cluster.views.pages import report_html, write_page

            write_page(Path(html).expanduser(), report_html(found, version=__version__))
        return found

    def __repr__(self) -> str:
        row = self._row_if_there()
        if row is None:
            return f"Cluster({self.name!r}: deleted)"
        where = f"{len(row.nodes)} nodes on {row.provider}, profile {row.profile}"
        return f"Cluster({self.name!r}: {row.standing}, {where})"

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        row = self._row_if_there()
        return Text(repr(self)) if row is None else Group(Text(repr(self), style="bold"), self.nodes)

    def _repr_html_(self) -> str:
        from cloudmesh_cluster.operations.queries.report import last_checks, report
        from cloudmesh_cluster.views.pages import cluster_html

        row = self._row_if_there()
        if row is None:
            return cluster_html(Cluster(self.name, "deleted", "-", "-", ""), (), None)
        return cluster_html(row, last_checks(self._home, self.name), report(self._home, self.name))

    def _row_if_there(self) -> Cluster | None:
        try:
            return self.row
        except NotFound:
            return None

    def _run(self, what: str, work: Work[T], *, quiet: bool = False) -> T:
        """Run an operation to its end; the progress of a quiet one is shown only to who asks for it."""
        from cloudmesh_cluster.views.progress.progress import Watched

        wanted = False if quiet and self._progress is None else self._progress
        with Watched(f"{what} {self.name}", wanted) as watched:
            return foreground.run(work(watched.emit), meanwhile=watched.draw)


def checks_table(results: Sequence[CheckResult]) -> Table[CheckResult]:
    """Return results as a table in which equal ones of several nodes share a row."""
    from cloudmesh_cluster.views.summary import folded_checks

    return Table(results, CHECK_COLUMNS, shown=folded_checks(results))
