"""64 nodes on 2 cores: is it fast enough, where does the time go, what does one node more cost? `make scale`.

Ends with 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from benchmarks.cm_command import Cm, add_options, temporary_cm
from benchmarks.measured import (
    BenchmarkFailed,
    Run,
    busy_seconds,
    machine,
    median_of,
    own_cpu_seconds,
    table,
    use_cores,
)

VERIFIED_WITHIN = 100.0
OWN_SHARE = 15.0
MEMORY_MB = 120.0
ALONE_FACTOR, EACH_NODE = 2.0, 0.1
NOTICED = 0.1  # of the CPU work: more of it that is others' is told


@dataclass(frozen=True)
class Part:
    """A part of the time: wall seconds that follow one another, CPU seconds that don't."""

    name: str
    seconds: float | None
    cpu: float | None


@dataclass(frozen=True)
class Bound:
    """A figure and the most that it may be."""

    what: str
    figure: float
    most: float
    unit: str

    @property
    def kept(self) -> bool:
        """Whether the bound is kept."""
        return self.figure <= self.most


@dataclass(frozen=True)
class Report:
    """All that is measured; `others` is the share of the machine's CPU work that was not of the cluster."""

    machine: str
    nodes: int
    parts: tuple[Part, ...]
    steps: dict[str, float]
    bounds: tuple[Bound, ...]
    others: float = 0.0

    def text(self) -> str:
        """Return the report for reading."""
        per_node = [None if part.cpu is None else part.cpu / self.nodes for part in self.parts]
        rows = [(part.name, part.seconds, part.cpu, each) for part, each in zip(self.parts, per_node, strict=True)]
        kept = [(b.what, b.figure, b.most, b.unit, "yes" if b.kept else "NO") for b in self.bounds]
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.steps.items() if seconds >= 0.05)
        quiet = f"{self.others:.0%} of the CPU work meanwhile was not ours: on a quiet machine it takes less time\n"
        return "\n".join(
            [
                f"{self.nodes} nodes on {self.machine}",
                "",
                table(("part", "wall s", "CPU s", "CPU s/node"), rows),
                f"steps of cm, which overlap: {steps}",
                "",
                *([quiet] if self.others > NOTICED else []),
                table(("bound", "is", "at most", "unit", "kept"), kept),
            ]
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="scale", description=__doc__)
    made.add_argument("-n", "--nodes", type=int, default=64, metavar="N", help="nodes of the large cluster (64)")
    add_options(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 when a bound is missed."""
    args = parser().parse_args(argv)
    use_cores(args.cores)
    try:
        with own_cpu_seconds() as cpu, temporary_cm(args.cm) as cm:
            report = measure(cm, args.nodes, cpu)
    except BenchmarkFailed as error:
        print(f"scale: {error}", file=sys.stderr)
        return 1
    print(report.text())
    print("all clusters are deleted, nothing is left")
    if args.json:
        args.json.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return 0 if all(bound.kept for bound in report.bounds) else 1


def measure(cm: Cm, nodes: int, cpu: Callable[[], float] | None) -> Report:
    """Create the smallest cluster, then the large one, and add a node to it.

    Args:
        cm: what is measured.
        nodes: how many the large cluster has.
        cpu: returns the CPU seconds of all that this program has started; None where they can't be had.

    """
    create_and_delete(cm, "warm")  # makes the image where there is none yet
    alone = median_of(3, lambda: create_and_delete(cm, "alone"))
    where = machine()
    busy, own_cpu, began = busy_seconds(), cpu() if cpu else 0.0, time.time()
    created = cm("cluster", "create", "large", "--provider", "local", "-n", str(nodes - 1), "-f", "json")
    busy, own_cpu = busy_seconds() - busy, cpu() - own_cpu if cpu else 0.0
    parts = split(cm, created, began=began, own=own_cpu or busy)
    added = cm("cluster", "scale", "large", "+1")
    own = sum(part.seconds or 0.0 for part in parts if part.name.startswith("cm:"))
    bounds = (
        Bound(f"{nodes} nodes verified", created.seconds, VERIFIED_WITHIN, "s"),
        Bound("cm's own share", own, OWN_SHARE, "s"),
        Bound("peak memory of cm", max(created.peak_mb, added.peak_mb), MEMORY_MB, "MB"),
        Bound(f"one node more (a cluster of one worker: {alone.seconds:.1f} s)", added.seconds,
              ALONE_FACTOR * alone.seconds + EACH_NODE * nodes, "s"),
    )  # fmt: skip
    steps = {step["name"]: step["seconds"] for step in json.loads(created.stdout)["steps"]}
    return Report(where, nodes, parts, steps, bounds, 1 - (own_cpu or busy) / busy)


def create_and_delete(cm: Cm, name: str) -> Run:
    """Create a cluster of one worker, the smallest there is, and delete it."""
    created = cm("cluster", "create", name, "--provider", "local", "-n", "1")
    cm("cluster", "delete", name, "-y")
    return created


def split(cm: Cm, created: Run, *, began: float, own: float) -> tuple[Part, ...]:
    """Return where the time of a creation went.

    Args:
        cm: whose cluster "large" it is.
        created: the creation.
        began: when it began, in seconds since the epoch.
        own: the CPU seconds of the cluster and its client.

    """
    facts = cm.node_facts("large")
    first, last = (choose(fact.born for fact in facts) for choose in (min, max))
    booted = max(fact.booted for fact in facts)
    boots = sum(fact.cpu for fact in facts)
    ended = began + created.seconds
    return (
        Part("cm: before the first node", first - began, None),
        Part("engine: all nodes started", last - first, None),
        Part("cloud-init: the last one ended", booted - last, boots),
        Part("cm: the rest of reach, wire, verify", ended - booted, None),
        Part("the client's process", None, created.cpu),
        Part("engine, sshd, scripts on the nodes", None, max(own - boots - created.cpu, 0.0)),
        Part("all", created.seconds, own),
    )


if __name__ == "__main__":
    sys.exit(main())
