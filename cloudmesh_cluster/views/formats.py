"""Rows in five formats: a table for people, JSON, YAML, CSV and bare values for programs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cloudmesh_cluster.core.errors import UsageError, did_you_mean

Row = Mapping[str, Any]
GAP = "  "
NARROW = 16


def rows_as(style: str, rows: Sequence[Row], columns: Sequence[str], *, width: int | None = None) -> str:
    """Return rows as text that ends with a newline, or nothing.

    Args:
        style: table, json, yaml, csv or value.
        rows: the data, by column.
        columns: which columns, in this order.
        width: how many characters fit into a line of the terminal; a table is cut to that.

    """
    chosen = [{column: row.get(column) for column in columns} for row in rows]
    if style == "json":
        return _json([_plain(row) for row in chosen])
    if style == "yaml":
        return _yaml([_plain(row) for row in chosen])
    if style == "csv":
        return _csv([list(columns), *([_cell(value) for value in row.values()] for row in chosen)])
    if style == "value":
        return "".join(" ".join(_one_line(_cell(value)) for value in row.values()) + "\n" for row in chosen)
    return table(columns, [[human(value) for value in row.values()] for row in chosen], width=width)


def record_as(style: str, record: Row, columns: Sequence[str]) -> str:
    """Return one record: in JSON and YAML a mapping, else a field in each line."""
    chosen = {column: record.get(column) for column in columns}
    if style == "json":
        return _json(_plain(chosen))
    if style == "yaml":
        return _yaml(_plain(chosen))
    if style == "csv":
        return _csv([list(columns), [_cell(value) for value in chosen.values()]])
    if style == "value":
        return "".join(_one_line(_cell(value)) + "\n" for value in chosen.values())
    width = max((len(name) for name in chosen), default=0)
    return "".join(f"{name:<{width}}  {human(value)}".rstrip() + "\n" for name, value in chosen.items())


def chosen_columns(asked: Sequence[str] | None, columns: Sequence[str]) -> list[str]:
    """Return the columns to print: those asked for, in that order, or all.

    Raises:
        UsageError: there is no such column.

    """
    for name in asked or ():
        if name not in columns:
            raise UsageError(f"no column named {name!r}", hint=did_you_mean(name, list(columns)))
    return list(asked or columns)


def terminal_width() -> int | None:
    """Return how wide the terminal is that standard output goes to, None where it goes to none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(columns: Sequence[str], cells: Sequence[Sequence[str]], *, width: int | None = None) -> str:
    """Return lines of aligned columns under a header; numbers stand to the right.

    Args:
        columns: the header.
        cells: the lines.
        width: the longest line that is wanted; the widest columns are cut to get there.

    """
    widths = _fitting([max(len(line[at]) for line in [columns, *cells]) for at in range(len(columns))], width)
    cells = [[_cut(cell, room) for cell, room in zip(line, widths, strict=True)] for line in cells]
    numeric = [bool(cells) and all(_is_number(line[at]) for line in cells) for at in range(len(columns))]
    lines = []
    for line in [columns, *cells]:
        aligned = (
            cell.rjust(room) if number else cell.ljust(room)
            for cell, room, number in zip(line, widths, numeric, strict=True)
        )
        lines.append(GAP.join(aligned).rstrip() + "\n")
    return "".join(lines)


def _fitting(widths: list[int], width: int | None) -> list[int]:
    """Take from the widest column until all fit, or all are narrow."""
    while width is not None and sum(widths) + len(GAP) * (len(widths) - 1) > width and max(widths) > NARROW:
        widest = widths.index(max(widths))
        widths = [*widths[:widest], widths[widest] - 1, *widths[widest + 1 :]]
    return widths


def _cut(cell: str, room: int) -> str:
    return cell if len(cell) <= room else cell[: room - 3] + "..."


def printable(text: str) -> str:
    """Return text without the control characters by which a node's answer could steer a terminal."""
    return "".join(c if c in "\t\n" or (c.isprintable() or c == " ") else f"\\x{ord(c):02x}" for c in text)


def _is_number(cell: str) -> bool:
    return cell == "" or cell.replace(".", "", 1).removeprefix("-").isdigit()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float) or value is None:
        return round(value, 3) if isinstance(value, float) else value
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return str(value)


def _json(value: Any) -> str:
    """Return JSON that means the same to a program, with escapes for what could steer a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text) + "\n"


def _yaml(value: Any) -> str:
    import yaml  # slow to import

    text = str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False))
    if printable(text) == text:
        return text
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=False, default_flow_style=False))


def _csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([printable(cell) for cell in line] for line in lines)
    return text.getvalue()


def _cell(value: Any) -> str:
    """Return a value for a program to read."""
    value = _plain(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def human(value: Any) -> str:
    """Return a value for a person to read, on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(human(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={human(item)}" for key, item in value.items())
    return _one_line("" if value is None else str(value))


def _one_line(text: str) -> str:
    return printable(" | ".join(text.rstrip("\n").split("\n")))
