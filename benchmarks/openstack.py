"""What `cm` costs on top of Heat: clusters until they are verified, and servers on which nothing boots.

Each against the command `openstack` with the very same template, one after the other in the same run. Needs devcloud.
Ends with 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks import api_calls
from benchmarks.api_calls import Call
from benchmarks.cloud import OpenStack, devcloud, quick_enough
from benchmarks.cm_command import Cm, add_options, temporary_cm
from benchmarks.fake_servers import Step, measure
from benchmarks.measured import BenchmarkFailed, machine, table, use_cores

PARTS = ("verified", "fake")
SIZES = (4, 10)
SERVERS = 100
LOOKS_A_SECOND, CONSOLES_A_SECOND = 1.1, 4.4
COUNTING_CM = f"{sys.executable} -m benchmarks.api_calls"


@dataclass(frozen=True)
class Verified:
    """A cluster made by `cm`, and its stack made by Heat alone.

    Args:
        nodes: how many.
        seconds: from the start of `cm` until all checks have passed.
        raw: `openstack stack create --wait` of the same template.
        wait: from the request for the stack until the last look at it, in seconds.
        before: calls to the cloud before the stack is asked for.
        looks: calls for what is new of the stack.
        consoles: calls for consoles, without the last one of each node, which finds its host key.
        others: all other calls, one a node at most.

    """

    nodes: int
    seconds: float
    raw: float
    wait: float
    before: int
    looks: int
    consoles: int
    others: int

    @property
    def kept(self) -> bool:
        """Whether `cm` is quick enough, and asks no more often the larger the cluster is."""
        rates = self.looks <= LOOKS_A_SECOND * self.wait and self.consoles <= CONSOLES_A_SECOND * self.wait
        return quick_enough(self.seconds, self.raw) and rates


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="openstack", description=__doc__)
    made.add_argument("--only", action="append", choices=PARTS, help="measure this part alone; may be repeated")
    made.add_argument("-n", "--servers", type=int, default=SERVERS, metavar="N", help=f"of the part fake ({SERVERS})")
    add_options(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 when a bound is missed."""
    args = parser().parse_args(argv)
    use_cores(args.cores)
    parts = args.only or PARTS
    clusters: list[Verified] = []
    steps: list[Step] = []
    print(f"{machine()}\n", flush=True)
    try:
        if "verified" in parts:
            with devcloud("engine") as openstack, temporary_cm(COUNTING_CM) as cm:
                clusters = [verified(cm, openstack, nodes) for nodes in SIZES]
            print(clusters_text(clusters), flush=True)
        if "fake" in parts:
            with devcloud("fake") as openstack, temporary_cm(COUNTING_CM) as cm:
                steps = asyncio.run(measure(cm, openstack, args.servers))
            print(steps_text(steps, args.servers), flush=True)
    except BenchmarkFailed as error:
        print(f"openstack: {error}", file=sys.stderr)
        return 1
    print(f"all stacks are deleted, nothing is left; {machine()}")
    if args.json:
        report = {"machine": machine(), "verified": list(map(asdict, clusters)), "fake": list(map(asdict, steps))}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    kept = [each.kept for each in clusters] + [each.kept for each in steps]
    return 0 if all(kept) else 1


def verified(cm: Cm, openstack: OpenStack, nodes: int) -> Verified:
    """Make a cluster by `cm`, and the stack of another one by Heat alone."""
    words = ("--provider", "openstack", "--flavor", "m1.tiny", "-n", str(nodes - 1))
    file, folder = cm.home / f"calls-{nodes}", cm.home / f"stack-{nodes}"
    os.environ[api_calls.FILE] = str(file)
    created = cm("cluster", "create", f"bench{nodes}", *words)
    os.environ.pop(api_calls.FILE)
    cm("cluster", "delete", f"bench{nodes}", "-y")
    cm("cluster", "create", f"raw{nodes}", *words, "--dry-run", "--output", str(folder))
    raw = openstack.stack_of(folder, f"cm-raw{nodes}")
    return counted(nodes, created.seconds, raw.seconds, api_calls.read(file))


def counted(nodes: int, seconds: float, raw: float, calls: Sequence[Call]) -> Verified:
    """Return a cluster's figures, with its calls to the cloud sorted by what they are for."""
    begin = next(position for position, call in enumerate(calls) if call.makes_stack)
    after = calls[begin + 1 :]
    looks = [call for call in after if call.of_events]
    consoles = [call for call in after if call.of_console]
    return Verified(
        nodes, seconds, raw, after[-1].at - calls[begin].at, begin, len(looks), len(consoles) - nodes,
        len(after) - len(looks) - len(consoles),
    )  # fmt: skip


def clusters_text(clusters: Sequence[Verified]) -> str:
    """Return the figures of clusters for reading."""
    heads = ("nodes", "cm, verified s", "raw Heat s", "ratio", "s more", "calls before", "wait s", "looks a s",
             "consoles a s", "others", "kept")  # fmt: skip
    rows = [
        (
            each.nodes, each.seconds, each.raw, each.seconds / each.raw, each.seconds - each.raw, each.before,
            each.wait, each.looks / each.wait, each.consoles / each.wait, each.others, "yes" if each.kept else "NO",
        )
        for each in clusters
    ]  # fmt: skip
    title = "from the start of cm until all checks have passed, against openstack stack create --wait"
    return f"{title}\n\n{table(heads, rows)}\n"


def steps_text(steps: Sequence[Step], servers: int) -> str:
    """Return the figures of servers that don't boot for reading."""
    rows = [
        (each.what, each.seconds, each.raw, each.seconds / each.raw, each.calls, "yes" if each.kept else "NO")
        for each in steps
    ]
    heads = ("step", "cm s", "openstack s", "ratio", "calls of cm", "kept")
    return f"{servers} servers of Nova's fake driver, the provision step alone\n\n{table(heads, rows)}\n"


if __name__ == "__main__":
    sys.exit(main())
