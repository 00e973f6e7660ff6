"""Runs the cases and prints the table: `make faults`, or `python -m tests.faults.run [--only WORDS]`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from cloudmesh_cluster.core.home import Home
from tests.faults import cloud, conda, cuts, metal, nodes
from tests.faults.case import Case, Row, carry_out

COLUMNS = ("case", "provider", "ended", "left", "called ready that was not", "seconds")


def cases(only: str) -> Iterator[Case]:
    """Yield the cases whose name has all words of `only`."""
    for case in (*cuts.CASES, *nodes.CASES, *conda.CASES, *metal.CASES, *cloud.CASES):
        if all(word in str(case) for word in only.split()):
            yield case


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown, and their sum below."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    for row in rows:
        cells = (row.case, row.provider, row.ended.splitlines()[0], *map(_counted, (row.left, row.false)))
        lines.append(f"| {' | '.join(cells)} | {row.seconds:.0f} |")
    wrong = sum(not row.good for row in rows)
    left, false = sum(bool(row.left) for row in rows), sum(bool(row.false) for row in rows)
    return "\n".join([*lines, "", f"{len(rows)} cases: {left} left something, {false} false, {wrong} wrong in all", ""])


def _counted(words: Sequence[str]) -> str:
    return "; ".join(words) if words else "0"


def _kept(file: Path | None) -> dict[str, Row]:
    """Return the good rows of a former run, by case."""
    if file is None or not file.exists():
        return {}
    rows = [Row(**{**json.loads(line), "left": (), "false": ()}) for line in file.read_text().splitlines()]
    return {f"{row.provider}: {row.case}": row for row in rows}


def _row(case: Case, cache: Path, known: Mapping[str, Row], file: Path | None) -> Row:
    return known.get(str(case)) or _told(carry_out(case, cache), file)


def _told(row: Row, file: Path | None) -> Row:
    """Say what came of a case, and keep it if it is good."""
    if file is not None and row.good:
        with file.open("a", encoding="utf-8") as rows:
            rows.write(json.dumps(asdict(row)) + "\n")
    said = "ok" if row.good else f"NOT GOOD: left {row.left}, false {row.false}"
    sys.stderr.write(f"faults: {row.provider}: {row.case}: {row.ended}: {said} ({row.seconds:.0f} s)\n")
    sys.stderr.flush()
    return row


def main() -> int:
    """Run the cases that are asked for; return 1 if one of them is not good."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--only", default="", help="words that the names of the cases must have")
    parser.add_argument("--output", type=Path, help="the file for the table")
    parser.add_argument("--rows", type=Path, help="a file that keeps each row; what is in it is not run again")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="how many cases run at a time")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a case has made goes with it
    chosen = list(cases(options.only))
    if options.list:
        sys.stdout.write("".join(f"{case}\n" for case in chosen))
        return 0
    cache = Home.from_environment(os.environ).cache
    known = _kept(options.rows)
    with ThreadPoolExecutor(options.at_once) as pool:
        try:
            done = [pool.submit(_row, case, cache, known, options.rows) for case in chosen]
            rows = [each.result() for each in done]
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    text = table(rows)
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
