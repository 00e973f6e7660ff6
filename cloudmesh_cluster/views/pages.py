"""HTML of tables, clusters and reports: self-contained, escaped, for light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import write_named
from cloudmesh_cluster.core.model import CheckResult, Cluster
from cloudmesh_cluster.views.formats import human

if TYPE_CHECKING:
    from jinja2 import Environment

    from cloudmesh_cluster.operations.queries.report import Report
    from cloudmesh_cluster.operations.queries.timeline import Timeline

Row = Mapping[str, Any]
GOOD = ("done", "ready", "running", "deleted")
NEVER_BROKEN = 32  # characters of a cell
UNDER_WAY = ("creating", "changing", "deleting", "stopped", "planned", "reached")


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    templates = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.globals["never_broken"] = NEVER_BROKEN
    templates.filters["human"] = human
    templates.filters["mood"] = mood
    templates.filters["moment"] = lambda text: str(text)[:19].replace("T", " ")
    return templates


def mood(state: str) -> str:
    """Return whether a state is good, bad or neither, for its colour."""
    return "good" if state in GOOD else "neutral" if state in UNDER_WAY else "bad"


def table_html(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return rows as a table without a style of its own: the page or the notebook has one."""
    head = "".join(f'<th style="text-align:left">{escape(column)}</th>' for column in columns)
    body = "".join("<tr>" + "".join(_cell(row.get(column)) for column in columns) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    # Else the names of nodes are broken at their hyphens, to make room for a long text beside them.
    whole = ";white-space:nowrap" if len(human(value)) <= NEVER_BROKEN else ""
    return f'<td style="text-align:left{whole}">{_text(value)}</td>'


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "✔" if value else '<b style="color:#d03a3a">✘ no</b>'
    if isinstance(value, str) and "\n" in value.rstrip("\n"):
        return f'<pre style="margin:0">{escape(value.rstrip())}</pre>'
    return escape(human(value))


def timeline_svg(line: Timeline, *, title: str, back: str = "") -> str:
    """Return a timeline as SVG: on a background of its own, else in the text colour of the page around it."""
    from cloudmesh_cluster.views.timeline_picture import picture

    return _templates().get_template("timeline.svg.j2").render(p=picture(line, title=title), back=back)


def cluster_html(cluster: Cluster, checks: Sequence[CheckResult], last: Report | None) -> str:
    """Return a cluster for a notebook: what it is, its nodes, its checks, and where the time of its making went."""
    picture = "" if last is None else timeline_svg(last.timeline, title=title_of(last))
    return (
        _templates()
        .get_template("cluster.html.j2")
        .render(
            cluster=cluster,
            checks=checks,
            bad=[check for check in checks if not check.ok],
            last=last,
            chain=[] if last is None else _chain(last.timeline),
            picture=picture,
        )
    )


def report_html(report: Report, *, version: str) -> str:
    """Return the page of an operation: one file that asks for nothing else."""
    from cloudmesh_cluster.views.summary import folded_checks
    from cloudmesh_cluster.views.timeline_picture import legend

    checks = sorted(folded_checks(report.checks), key=lambda row: bool(row["ok"]))
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            report=report,
            operation=report.operation,
            version=version,
            title=title_of(report),
            legend=legend(report.timeline.bars),
            picture=timeline_svg(report.timeline, title=title_of(report)),
            chain=_chain(report.timeline),
            checks=checks,
            good=sum(check.ok for check in report.checks),
            versions=_versions(report),
        )
    )


def title_of(report: Report) -> str:
    """Return what an operation was and how it ended, in a line."""
    operation = report.operation
    return f"{operation.kind} {operation.cluster}: {operation.state} after {report.timeline.seconds:.1f} s"


def _chain(line: Timeline) -> list[Row]:
    """Return what the operation waited for, with its part of the whole time in percent and its colour."""
    from cloudmesh_cluster.views.timeline_picture import COLORS, category

    whole = max(line.seconds, 0.001)
    return [
        {
            "step": bar.step, "node": bar.node or "client", "seconds": bar.seconds, "color": COLORS[category(bar)],
            "begin": round(100 * bar.begin / whole, 2), "percent": round(100 * bar.seconds / whole, 2),
            "waited_for": bar.waited_for,
        }
        for bar in line.decisive
    ]  # fmt: skip


def _versions(report: Report) -> list[Row]:
    """Return what took part, equal versions of several nodes in one row."""
    from cloudmesh_cluster.core.targets import fold

    nodes: dict[str, list[str]] = {}
    for node, what in report.versions:
        nodes.setdefault(what, []).extend([node] if node and node not in nodes.get(what, []) else [])
    return [{"where": fold(names) if names else "", "what": what} for what, names in nodes.items()]


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all where it is a file of its own.

    Raises:
        UsageError: it can't be written there.

    """
    try:
        write_named(path, page.encode(), mode=0o600)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name a file in a folder that is there") from None
