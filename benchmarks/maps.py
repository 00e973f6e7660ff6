"""What the maps of this package cost and gain over Dask, on a cluster that `cm` makes.

Many small calls against bare `client.map`, and calls of ten milliseconds against one serial loop.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.cm_command import Cm
from benchmarks.measured import BenchmarkFailed, Run
from cloudmesh_cluster import Cluster, univariate
from cloudmesh_cluster.core.home import Home

NODES = 3  # workers, of one core each
SMALL_CALLS, LONG_CALLS, LONG = 10_000, 1000, 0.01  # LONG in seconds
TURNS = 3
MOST_OVERHEAD = 1.1  # to bare client.map

Way = Callable[[Callable[[int], int], Sequence[int]], list[int]]
Measured = list[tuple[str, Run, str]]


def measure(cm: Cm) -> dict[str, Measured]:
    """Return what all ways took, by what they did.

    Raises:
        BenchmarkFailed: results are wrong.

    """
    small, waiting, computing = _functions()
    cm("cluster", "create", "maps", "-p", "dask", "--provider", "local", "-n", str(NODES))
    with Cluster.open("maps", home=Home(cm.home, cm.cache)) as cluster:
        client = cluster.dask()

        def bare(function: Callable[[int], int], numbers: Sequence[int]) -> list[int]:
            found: list[int] = client.gather(client.map(function, numbers, pure=False))
            return found

        ours: dict[str, Way] = {"univariate.distributed.dask": univariate.distributed.dask}
        loop: dict[str, Way] = {"univariate.serial.for_loop": univariate.serial.for_loop}
        tables = {
            f"{SMALL_CALLS} small calls (bound {MOST_OVERHEAD})": _compared(
                small, SMALL_CALLS, {"client.map": bare, **ours}
            ),
            f"{LONG_CALLS} calls that wait for 10 ms": _compared(waiting, LONG_CALLS, {**loop, **ours}),
            f"{LONG_CALLS} calls that compute for 10 ms": _compared(computing, LONG_CALLS, {**loop, **ours}),
        }
    cm("cluster", "delete", "maps", "-y")
    return tables


def _functions() -> list[Callable[[int], int]]:
    """Return one that does next to nothing, one that waits, one that computes; nested, so that they travel by value."""

    def small(x: int) -> int:
        return x + 1

    def waiting(x: int) -> int:
        time.sleep(LONG)
        return x + 1

    def computing(x: int) -> int:
        end = time.process_time() + LONG
        while time.process_time() < end:
            pass
        return x + 1

    return [small, waiting, computing]


def _compared(function: Callable[[int], int], calls: int, ways: Mapping[str, Way]) -> Measured:
    """Take turns, so that whatever else this machine does disturbs all of them; return the medians."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            runs[name].append(_run(name, way, function, calls))
    return [(name, sorted(each, key=lambda run: run.seconds)[TURNS // 2], "") for name, each in runs.items()]


def _run(name: str, way: Way, function: Callable[[int], int], calls: int) -> Run:
    began, cpu = time.perf_counter(), time.process_time()
    results = way(function, range(calls))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if results != list(range(1, calls + 1)):
        raise BenchmarkFailed(f"{name} returned wrong results")
    return Run(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "", "")
