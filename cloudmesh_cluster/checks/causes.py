"""Why a command failed, from what it printed: the line that says so, not only the line of the script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cloudmesh_cluster.core.model import CommandResult
from cloudmesh_cluster.core.targets import fold

_REPORT = re.compile(r"cm: (?P<script>\S+): line (?P<line>\d+): (?P<command>.*)")
"""How `run-script` says at which line a script has ended."""


@dataclass(frozen=True)
class Cause:
    """Why a command failed on a node: in words, and at which line of the script if that is known."""

    words: str
    line: int | None = None


def cause_of(result: CommandResult) -> Cause:
    """Return why a command failed: what its failing line printed, else what it printed last."""
    said = _lines(result.stderr)
    if result.exit == -1:  # what ended it is said last, after what it printed as it was ended
        return Cause(f"no answer: {(said or ['no output'])[-1]}")
    for place in range(len(said) - 1, -1, -1):
        if report := _REPORT.match(said[place]):
            before = said[place - 1 : place] or _lines(result.stdout)[-1:] or [report["command"]]
            return Cause(before[-1], int(report["line"]))
    last = (said or _lines(result.stdout) or ["no output"])[-1]
    return Cause(f"exit status {result.exit}: {last}")


def failures(what: str, results: Sequence[CommandResult]) -> str:
    """Return which nodes failed and why, nodes with the same cause together."""
    nodes: dict[Cause, list[str]] = {}
    for result in results:
        nodes.setdefault(cause_of(result), []).append(result.node)
    (first, names), *others = nodes.items()
    line = "" if first.line is None else f", line {first.line}"
    more = sum(len(each) for _, each in others)
    also = f" (and on {more} more, for other reasons)" if more else ""
    return f"{what} failed on {fold(names)}{line}: {first.words}{also}"


def unsaid(result: CommandResult, message: str) -> list[str]:
    """Return what a failed command printed, without its end, if a message has said that already."""
    lines = _lines(result.stderr) or _lines(result.stdout)
    while lines and (_REPORT.match(lines[-1]) or lines[-1] in message):
        lines = lines[:-1]
    return lines


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]
