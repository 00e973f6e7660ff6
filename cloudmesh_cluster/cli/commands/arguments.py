"""Arguments that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cloudmesh_cluster.cli.tree import Argument, argument

if TYPE_CHECKING:
    from cloudmesh_cluster.cli.session import Session

NAME = argument("name", metavar="NAME", completes="cluster", help="the cluster")
OS_CLOUD = argument("--os-cloud", metavar="CLOUD", help="the entry of clouds.yaml (default: providers.yaml, OS_CLOUD)")
TARGET_HELP = "all, a role, head, compute, a node, an index (0 = master), a range 2-5, worker-[1-3,7]; comma joins"


def seconds(text: str) -> float:
    """Read a duration for argparse."""
    from cloudmesh_cluster.core.quantities import parse_duration

    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if duration <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all")
    return duration


def whole_number(text: str) -> int:
    """Read an integer for argparse."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


TRUST_ON_FIRST_USE = argument(
    "--trust-on-first-use", action="store_true",
    help="where nobody vouches for a new node's host key, believe whoever answers first, and write that down",
)  # fmt: skip


def timeout_argument(what: str) -> Argument:
    """Return the option that limits how long something may take."""
    return argument("--timeout", type=seconds, metavar="DURATION", help=f"{what} (a number of seconds, or 5s, 2m, 1h)")


def target_argument(*, default: str | None = "all") -> Argument:
    """Return the option that says on which nodes."""
    return argument("-t", "--target", default=default, metavar="TARGET", completes="target", help=TARGET_HELP)


def yes_argument() -> Argument:
    """Return the option that says yes to every question."""
    return argument("-y", "--yes", action="store_true", help="ask nothing")


def show_summary(summary: object, session: Session, style: str = "table") -> int:
    """Print what came of an operation that ends with a proof, and return 0; others end without words."""
    from cloudmesh_cluster.operations.steps.finish import Summary
    from cloudmesh_cluster.views.summary import summary_as

    if isinstance(summary, Summary):
        text, session.result = summary_as(style, summary)
        sys.stdout.write(text)
    return 0


def print_warning(text: str) -> None:
    """Say on standard error what did not stop a command but should be known."""
    from cloudmesh_cluster.views.formats import printable

    sys.stderr.write(f"warning: {printable(text)}\n")
