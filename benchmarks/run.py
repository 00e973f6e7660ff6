"""What the README claims, as ratios in one run on this machine: `make bench`.

Start-up against python-openstackclient; a command on 64 nodes and a file to 32 against asyncssh, pdsh, clush and
Ansible; how long clusters of several sizes take until they are verified; maps over Dask against what Dask does alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import maps, rivals
from benchmarks.cm_command import Cm, add_options, temporary_cm
from benchmarks.measured import BenchmarkFailed, Run, machine, median_of, run, table, use_cores

PARTS = ("start", "create", "cmd", "put", "maps")
SIZES = (2, 4, 16)
PUSHED_BYTES, PUSHED_TO = 10_000_000, 32


@dataclass(frozen=True)
class Row:
    """A program and what it took; `ratio` is to the first one of its table."""

    what: str
    seconds: float
    ratio: float
    cpu: float
    peak_mb: float
    note: str


@dataclass(frozen=True)
class Table:
    """Programs that did the same."""

    title: str
    rows: tuple[Row, ...]

    def text(self) -> str:
        """Return the table for reading."""
        rows = [(r.what, r.seconds, r.ratio, r.cpu, round(r.peak_mb), r.note) for r in self.rows]
        return f"{self.title}\n\n{table(('', 'seconds', 'ratio', 'CPU s', 'peak MB', 'note'), rows)}\n"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="bench", description=__doc__)
    made.add_argument("-n", "--nodes", type=int, default=64, metavar="N", help="nodes of the large cluster (64)")
    made.add_argument("--only", action="append", choices=PARTS, help="measure this part alone; may be repeated")
    add_options(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    args = parser().parse_args(argv)
    use_cores(args.cores)
    parts = args.only or PARTS
    tables: list[Table] = []

    def done(finished: Table) -> None:
        tables.append(finished)
        print(finished.text(), flush=True)

    print(f"{machine()}; medians; CPU is that of the client, memory that of its largest process\n", flush=True)
    try:
        if "start" in parts:
            done(start())
        if {"create", "cmd", "put"}.intersection(parts):
            with temporary_cm(args.cm) as cm:
                clusters(cm, args.nodes, parts, done)
        if "maps" in parts:
            with temporary_cm(args.cm) as cm:
                for title, measured in maps.measure(cm).items():
                    done(_table(f"maps: {title}, {maps.NODES} workers", measured))
    except BenchmarkFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"all clusters are deleted, nothing is left; {machine()}")
    if args.json:
        report = {"machine": machine(), "tables": [asdict(each) for each in tables]}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def start() -> Table:
    """Measure how long programs take to say something."""
    programs = Path(sys.executable).parent
    with temporary_cm(
        str(programs / "cm") if (programs / "cm").exists() else f"{sys.executable} -m cloudmesh_cluster"
    ) as cm:
        measured = [
            ("cm --version", median_of(9, lambda: cm("--version")), ""),
            ("cm cluster list", median_of(9, lambda: cm("cluster", "list")), "opens the journal"),
        ]
    if (openstack := programs / "openstack").exists():
        measured.append(("openstack --version", median_of(5, lambda: run([str(openstack), "--version"])), ""))
    return _table("start", measured)


def clusters(cm: Cm, nodes: int, parts: Sequence[str], done: Callable[[Table], None]) -> None:
    """Measure what needs clusters; the large one is made in any case."""
    cm("cluster", "create", "warm", "--provider", "local", "-n", "1")  # makes the image where there is none yet
    cm("cluster", "delete", "warm", "-y")
    created = []
    for size in SIZES if "create" in parts else ():
        created.append((f"{size} nodes", median_of(3 if size < 10 else 1, partial(_create, cm, size)), ""))
    large = cm("cluster", "create", "large", "--provider", "local", "-n", str(nodes - 1))
    if "create" in parts:
        done(_table("create: until verified", [*created, (f"{nodes} nodes", large, "")]))
    site = rivals.site_of(cm, "large", cm.home)
    if "cmd" in parts:
        done(command(cm, site))
    if "put" in parts:
        done(push(cm, site))


def _create(cm: Cm, nodes: int) -> Run:
    created = cm("cluster", "create", "small", "--provider", "local", "-n", str(nodes - 1))
    cm("cluster", "delete", "small", "-y")
    return created


def command(cm: Cm, site: rivals.Site) -> Table:
    """Measure one command on all nodes; everybody logs in anew."""
    own = median_of(5, lambda: cm("cluster", "cmd", "large", "hostname"))
    measured = [("cm cluster cmd", own, "journal, folded output")]
    measured += _against(site, rivals.fan_out(site, "hostname"))
    return _table(
        f"cmd: hostname on {len(site.names)} nodes, {rivals.AT_ONCE} at a time, everybody logs in anew", measured
    )


def push(cm: Cm, site: rivals.Site) -> Table:
    """Measure a file pushed to many nodes."""
    count = min(PUSHED_TO, len(site.names))
    file = cm.home / "pushed"
    file.write_bytes(os.urandom(PUSHED_BYTES))
    own = median_of(3, lambda: cm("cluster", "put", "large", str(file), "/tmp/by-cm", "-t", f"0-{count - 1}"))
    measured = [("cm cluster put", own, "whole or not at all")]
    measured += _against(site, rivals.push(site, file, count))
    return _table(f"put: 10 MB to {count} nodes", measured)


def _against(site: rivals.Site, programs: Sequence[rivals.Rival]) -> list[tuple[str, Run, str]]:
    measured = []
    for each in programs:
        try:
            once = partial(run, each.words, env=site.environment())
            measured.append((each.name, median_of(each.times, once), each.pays_for))
        except BenchmarkFailed as error:
            print(f"bench: {each.name} is left out: {error}", file=sys.stderr)
    return measured


def _table(title: str, measured: Sequence[tuple[str, Run, str]]) -> Table:
    first = measured[0][1].seconds
    return Table(
        title,
        tuple(Row(what, r.seconds, r.seconds / first, r.cpu, r.peak_mb, note) for what, r, note in measured),
    )


if __name__ == "__main__":
    sys.exit(main())
