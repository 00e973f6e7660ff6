"""The plan of a cluster before it is made, and what came of it after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.core.amounts import counted
from cloudmesh_cluster.core.codec import encode
from cloudmesh_cluster.core.model import CheckResult, Cluster, CommandResult, Profile
from cloudmesh_cluster.core.redaction import without_secrets
from cloudmesh_cluster.views.columns import CHECK_COLUMNS, NODE_COLUMNS, cluster_row
from cloudmesh_cluster.views.formats import Row, printable, record_as, rows_as, terminal_width

if TYPE_CHECKING:
    from cloudmesh_cluster.operations.plan import Plan
    from cloudmesh_cluster.operations.queries.totals import Totals
    from cloudmesh_cluster.operations.steps.finish import Summary

STEPS_SHOWN_FROM = 0.05


def plan_as(style: str, plan: Plan, totals: Totals | None = None) -> str:
    """Return a plan for reading, or the very object, but for tokens of channels, as JSON or YAML, and its totals."""
    if style != "table":
        record = json.loads(encode(plan)) | {"totals": json.loads(encode(totals)) if totals else None}
        return record_as(style, without_secrets(record), list(record))
    nodes = rows_as("table", [asdict(node) for node in plan.nodes], ("name", "role", "private_ip"))
    lines = [
        plan.headline,
        *(f"network: {plan.network}" for _ in range(bool(plan.network))),
        *_machines(plan.profile),
        *(f"plugins: {', '.join(plan.plugins)}" for _ in range(bool(plan.plugins))),
        *(f"script on {script.role}: {script.name}" for script in plan.profile.scripts),
        f"checks: {', '.join(plan.checks)}",
        *(f"warning: {warning}" for warning in plan.warnings),
        *(f"note: {note}" for note in plan.notes),
        *(_in_all(totals) if totals else []),
    ]
    return printable("\n".join(lines)) + "\n\n" + nodes


def _in_all(totals: Totals) -> list[str]:
    """Return what all nodes take, what is left of that, and what will be fetched, as lines."""
    sizes = [
        counted(totals.nodes, "node"),
        "no limit of CPUs" if totals.cpus is None else f"{totals.cpus:g} CPUs",
        "no limit of memory" if totals.memory is None else f"{totals.memory} MiB of memory",
        *([] if totals.disk is None else [f"{totals.disk} GiB of disk"]),
    ]
    there = [f"{each.needed} of {each.left} {each.what}" for each in totals.room]
    return [
        f"in all: {', '.join(sizes)}",
        *([f"of what is left: {', '.join(there)}"] if there else []),
        f"to fetch: {'; '.join(totals.downloads) or 'nothing'}",
    ]


def _machines(profile: Profile) -> list[str]:
    """Return what each role is made of, where nodes are a cloud's."""
    return [
        f"{role}: image {spec.image}, flavor {spec.flavor}"
        + (f" ({spec.cpus:g} CPUs, {spec.memory} MiB)" if spec.cpus and spec.memory else "")
        for role, spec in (("master", profile.master), ("worker", profile.worker))
        if spec.flavor
    ]


def summary_as(style: str, summary: Summary) -> tuple[str, dict[str, Any]]:
    """Return a summary for reading, or as JSON or YAML; and as plain data."""
    record = {
        "cluster": cluster_row(summary.cluster),
        "nodes": [asdict(node) for node in summary.cluster.nodes],
        "checks": [asdict(check) for check in summary.checks],
        "seconds": summary.seconds,
        "steps": [asdict(step) for step in summary.steps],
        "login": summary.login,
        "uis": [{"name": name, "url": url} for name, url in summary.uis],
        "warnings": list(summary.warnings),
    }
    text = record_as(style, record, list(record)) if style != "table" else "\n\n".join(_parts(summary)) + "\n"
    return text, record


def _parts(summary: Summary) -> list[str]:
    cluster = summary.cluster
    steps = [f"{step.name} {step.seconds:.1f} s" for step in summary.steps if step.seconds >= STEPS_SHOWN_FROM]
    pages = dict.fromkeys(name for name, _ in summary.uis)
    said = [
        _headline(summary),
        *(f"warning: {printable(warning)}" for warning in summary.warnings),
        f"log in: {summary.login}",
        *([f"pages: cm cluster open {cluster.name} ({', '.join(pages)})"] if pages else []),
        f"time: {', '.join(steps)}",
    ]
    return [nodes_table(cluster), checks_table(summary.checks), "\n".join(said)]


def _headline(summary: Summary) -> str:
    cluster = summary.cluster
    nodes, checks = counted(len(cluster.nodes), "node"), counted(len(summary.checks), "check")
    return f"cluster {cluster.name} is {cluster.state}: {nodes}, {checks} ok, {summary.seconds:.1f} s"


def nodes_table(cluster: Cluster) -> str:
    """Return a cluster's nodes as a table without its last newline."""
    return rows_as("table", [asdict(node) for node in cluster.nodes], NODE_COLUMNS[:6]).rstrip("\n")


def checks_table(checks: Sequence[CheckResult]) -> str:
    """Return results of checks as a table without its last newline, equal results of several nodes folded."""
    return rows_as("table", folded_checks(checks), CHECK_COLUMNS, width=terminal_width()).rstrip("\n")


def folded_checks(checks: Sequence[CheckResult]) -> list[Row]:
    """Return results as rows; those that differ in nothing but the node share a row, the slowest time counts."""
    from cloudmesh_cluster.core.targets import fold

    groups: dict[tuple[str, str, str, bool], list[CheckResult]] = {}
    for each in checks:
        groups.setdefault((each.check, each.expected, each.actual, each.ok), []).append(each)
    return [
        {
            "check": check, "node": fold(each.node for each in same), "expected": expected,
            "actual": actual, "ok": ok, "seconds": max(each.seconds for each in same),
        }
        for (check, expected, actual, ok), same in groups.items()
    ]  # fmt: skip


def folded_answers(cluster: str, results: Sequence[CommandResult]) -> str:
    """Return each different answer once, under the nodes that gave it; an answer of one line beside them."""
    from cloudmesh_cluster.core.targets import fold_answers

    lines = []
    short = [replace(each, node=each.node.removeprefix(f"{cluster}-")) for each in results]
    for nodes, answer in fold_answers(short):
        exit_code = "" if answer.exit == 0 else " [no answer]" if answer.exit < 0 else f" [exit {answer.exit}]"
        said = printable(answer.stdout + answer.stderr).splitlines()
        if len(said) <= 1:
            lines.append(f"{nodes}{exit_code}: {''.join(said)}".rstrip())
        else:
            lines += [f"{nodes}{exit_code}:", *(f"  {line}" for line in said)]
    return "".join(f"{line}\n" for line in lines)
