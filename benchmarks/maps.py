"""What the maps of this package cost and gain over Dask, in one run on this machine: `python -m benchmarks.maps`.

Many small calls against bare `client.map`, and calls of ten milliseconds against one serial loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measured import BenchmarkFailed, machine, table
from cloudmesh_cluster import univariate
from cloudmesh_cluster.cluster_setup import dask

SMALL_CALLS, LONG_CALLS, LONG = 10_000, 1000, 0.01  # LONG in seconds
TURNS = 3
MOST_OVERHEAD = 1.1  # to bare client.map


@dataclass(frozen=True)
class Row:
    """One way to make all calls: seconds in all (the median of some turns), and the ratio to the first of its sort."""

    what: str
    calls: int
    seconds: float
    ratio: float


def small(x: int) -> int:
    """Do next to nothing."""
    return x + 1


def waiting(x: int) -> int:
    """Wait for ten milliseconds, as for a disk or another computer."""
    time.sleep(LONG)
    return x + 1


def computing(x: int) -> int:
    """Compute for ten milliseconds of this process's time."""
    end = time.process_time() + LONG
    while time.process_time() < end:
        pass
    return x + 1


def measure(nodes: int) -> list[Row]:
    """Return what all ways took, over workers of one core each."""
    with ExitStack() as stack:
        scheduler = stack.enter_context(dask.start_scheduler("127.0.0.1:0", dashboard_port=None, background=True))
        for _ in range(nodes):
            stack.enter_context(dask.start_worker(scheduler.address, background=True))
        client = dask.connect_to_scheduler(scheduler.address)
        stack.callback(dask.disconnect)

        def bare(function: Callable[[int], int], numbers: Sequence[int]) -> list[int]:
            found: list[int] = client.gather(client.map(function, numbers, pure=False))
            return found

        ways: list[tuple[str, Callable[..., list[Any]]]] = [("distributed.dask", univariate.distributed.dask)]
        rows = _compared(small, SMALL_CALLS, [("client.map", bare), *ways], "nothing")
        for function, does in ((waiting, "10 ms of waiting"), (computing, "10 ms of computing")):
            rows += _compared(function, LONG_CALLS, [("serial.for_loop", univariate.serial.for_loop), *ways], does)
        return rows


def _compared(
    function: Callable[[int], int], calls: int, ways: Sequence[tuple[str, Callable[..., list[int]]]], does: str
) -> list[Row]:
    """Take turns, so that whatever else this machine does disturbs all of them."""
    times: dict[str, list[float]] = {name: [] for name, _ in ways}
    for _ in range(TURNS):
        for name, way in ways:
            began = time.perf_counter()
            results = way(function, range(calls))
            times[name].append(time.perf_counter() - began)
            if results != list(range(1, calls + 1)):
                raise BenchmarkFailed(f"{name} returned wrong results")
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    first = next(iter(medians.values()))
    return [Row(f"{name}: {does}", calls, seconds, seconds / first) for name, seconds in medians.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 when the overhead is over its bound."""
    parser = argparse.ArgumentParser(prog="maps", description=__doc__)
    parser.add_argument("-n", "--nodes", type=int, default=3, metavar="N", help="workers of one core each (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args(argv)
    print(f"{machine()}; {args.nodes} workers, medians of {TURNS} turns\n")
    rows = measure(args.nodes)
    print(table(("", "calls", "seconds", "ratio"), [(r.what, r.calls, r.seconds, r.ratio) for r in rows]))
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    within = rows[1].ratio <= MOST_OVERHEAD
    print(f"\noverhead per call against bare client.map: {rows[1].ratio:.2f}, bound {MOST_OVERHEAD}")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
