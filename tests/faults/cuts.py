"""A process that is cut off twice: in an operation, and then in its roll-back or in the resume."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle

from tests.faults.case import Case, Trial
from tests.support.command_line import Answer
from tests.support.journal_watch import WRITTEN_DOWN, Instant, begun, done, started, undoing, undone

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
NODES = "clusters/t/engine/nodes"
DISK = Instant("disk made", path=f"{NODES}/*/spec.json")
HALF_A_DISK = Instant("disk half removed", path=f"{NODES}/t-*/disk", gone=f"{NODES}/t-*/spec.json")
NODE_REACHED = Instant(
    "node reached",
    "SELECT 1 FROM nodes WHERE state='reached' AND EXISTS (SELECT 1 FROM steps WHERE operation=:operation)",
)
AGAIN = "resumed "


@dataclass(frozen=True)
class Cut:
    """A signal to a process, some seconds after an instant."""

    at: Instant
    number: signal.Signals
    after: float = 0.0

    def __str__(self) -> str:
        later = f" + {self.after:g} s" if self.after else ""
        return f"{self.number.name.removeprefix('SIG')} at {self.at}{later}"


@dataclass(frozen=True)
class Pair:
    """Two cuts: the first one kills, or begins a roll-back; the second one hits that roll-back, or the resume.

    Args:
        operation: which one is cut.
        first: of the operation.
        second: of the roll-back where `first` is a signal that can be handled, else of the resume; None for no other.

    """

    operation: str
    first: Cut
    second: Cut | None = None

    @property
    def name(self) -> str:
        """What happens, in a line."""
        if self.second is None:
            return f"{self.operation}: {self.first}"
        where = "the resume" if self.first.number == KILL else "the roll-back"
        return f"{self.operation}: {self.first}, then in {where} {self.second}"


def _pairs(operation: str, firsts: Sequence[Cut], seconds: Sequence[Cut]) -> Iterator[Pair]:
    """Yield as many pairs as the longer list has, with the other one over and over."""
    longer, shorter = (firsts, cycle(seconds)) if len(firsts) > len(seconds) else (seconds, cycle(firsts))
    for one, other in zip(longer, shorter, strict=False):
        yield Pair(operation, one, other) if longer is firsts else Pair(operation, other, one)


CREATE_BACK = tuple(
    _pairs(
        "create",
        [Cut(DISK, INT), Cut(begun("verify"), INT), Cut(NODE_REACHED, TERM), Cut(begun("wire"), INT)],
        [
            Cut(undoing("provision"), INT), Cut(undoing("provision"), KILL, 0.05), Cut(undoing("provision"), INT, 0.1),
            Cut(undoing("provision"), TERM, 0.2), Cut(undoing("provision"), KILL, 0.3), Cut(HALF_A_DISK, KILL),
            Cut(HALF_A_DISK, INT, 0.02), Cut(HALF_A_DISK, TERM, 0.05), Cut(HALF_A_DISK, KILL, 0.1),
            Cut(undone("provision"), KILL), Cut(undoing("prepare"), KILL), Cut(HALF_A_DISK, INT, 0.2),
        ],
    )
)  # fmt: skip
CREATE_AGAIN = tuple(
    _pairs(
        "create",
        [Cut(begun("provision"), KILL), Cut(DISK, KILL), Cut(done("provision"), KILL), Cut(NODE_REACHED, KILL)],
        [
            Cut(begun("provision"), KILL), Cut(begun("provision"), INT, 0.3), Cut(done("provision"), KILL),
            Cut(begun("wire"), TERM), Cut(begun("scripts"), KILL), Cut(begun("verify"), INT), Cut(WRITTEN_DOWN, KILL),
        ],
    )
)  # fmt: skip
SCALE_BACK = tuple(
    _pairs(
        "scale",
        [Cut(DISK, INT, 0.3), Cut(begun("wire"), TERM), Cut(begun("scripts"), INT), Cut(begun("verify"), INT)],
        [
            Cut(undoing("provision"), KILL), Cut(undoing("provision"), INT, 0.1), Cut(undoing("provision"), KILL, 0.3),
            Cut(undone("provision"), KILL), Cut(undoing("join"), TERM), Cut(undoing("join"), KILL, 0.2),
        ],
    )
)  # fmt: skip
SCALE_AGAIN = tuple(
    _pairs(
        "scale",
        [Cut(begun("provision"), KILL), Cut(begun("wire"), KILL), Cut(begun("verify"), KILL)],
        [Cut(begun("provision"), INT, 0.2), Cut(begun("scripts"), KILL), Cut(begun("join"), TERM)],
    )
)
SHRINK_AGAIN = tuple(
    _pairs(
        "shrink",
        [Cut(begun("destroy"), KILL, 0.05), Cut(begun("wire"), KILL), Cut(begun("destroy"), KILL, 0.15)],
        [Cut(begun("destroy"), KILL, 0.1), Cut(begun("destroy"), INT), Cut(begun("verify"), TERM)],
    )
)
REPLACE_AGAIN = tuple(
    _pairs(
        "replace",
        [Cut(begun("destroy"), KILL, 0.1), Cut(begun("provision"), INT), Cut(begun("wire"), KILL)],
        [Cut(begun("destroy"), KILL, 0.15), Cut(begun("provision"), KILL, 0.2), Cut(begun("verify"), INT)],
    )
)
WRITE_BACK = tuple(
    _pairs(
        "write",
        [Cut(begun("script long.sh"), INT, 0.3)],
        [
            Cut(undoing("script long.sh"), KILL, 0.1), Cut(undoing("script long.sh"), INT, 0.6),
            Cut(Instant("rebuild", "SELECT 1 FROM steps WHERE operation=:operation AND name='provision'"), KILL, 0.1),
            Cut(begun("reach"), KILL),
        ],
    )
)  # fmt: skip
INSTALL_BACK = tuple(
    _pairs(
        "install",
        [Cut(begun("install"), INT, 0.2), Cut(begun("verify"), TERM)],
        [Cut(undoing("install"), KILL), Cut(undoing("install"), INT, 0.3), Cut(undone("install"), KILL)],
    )
)
DELETE_AGAIN = tuple(
    _pairs(
        "delete",
        [Cut(begun("destroy"), KILL, 0.1), Cut(begun("destroy"), INT, 0.05), Cut(WRITTEN_DOWN, KILL)],
        [Cut(begun("destroy"), KILL, 0.1), Cut(begun("forget"), KILL), Cut(begun("destroy"), TERM)],
    )
)
PAIRS = (
    *CREATE_BACK, *CREATE_AGAIN, *SCALE_BACK, *SCALE_AGAIN, *SHRINK_AGAIN, *REPLACE_AGAIN, *WRITE_BACK,
    *INSTALL_BACK, *DELETE_AGAIN,
)  # fmt: skip
ONCE = tuple(
    Pair(operation, Cut(at, KILL))
    for operation, instants in (
        ("create", (WRITTEN_DOWN, begun("prepare"), begun("image"), done("provision"), begun("wire"), begun("scripts"),
                    begun("verify"))),
        ("write", (WRITTEN_DOWN, begun("script long.sh"))),
        ("scale", (begun("join"), DISK, NODE_REACHED, begun("verify"))),
        ("shrink", (begun("leave"), begun("destroy"), begun("wire"))),
        ("replace", (begun("destroy"), begun("provision"), begun("verify"))),
        ("install", (begun("install"), begun("verify"))),
        ("delete", (WRITTEN_DOWN, begun("destroy"), begun("forget"))),
    )
    for at in instants
)  # fmt: skip
SAMPLE = (CREATE_BACK[5], CREATE_BACK[6], SCALE_BACK[2], CREATE_AGAIN[1])
"""What `make test` runs: the instants at which `resume` used to fail."""

SCRIPT = "echo began; sleep 0.5; echo ended"
WORDS = {
    "create": ("create", "t", "-p", "slow"),
    "scale": ("scale", "t", "2"),
    "shrink": ("scale", "t", "1"),
    "replace": ("replace", "t", "worker-1"),
    "write": ("write", "t", "worker", "--file", "long.sh", "--on-failure", "rebuild"),
    "install": ("install", "t", "box"),
    "delete": ("delete", "t", "-y"),
}


def cut_twice(tried: Trial, pair: Pair) -> str:
    """Cut an operation off, twice or once; then `resume` must end well. What it makes, the trial judges."""
    _make_ready(tried, pair.operation)
    words = WORDS[pair.operation]
    (tried.cm.home / "long.sh").write_text(SCRIPT)
    words = tuple(str(tried.cm.home / word) if word == "long.sh" else word for word in words)
    if pair.second is None:
        cut(tried, words, pair.first)
    elif pair.first.number == KILL:
        cut(tried, words, pair.first)
        again = words if pair.operation == "delete" else ("resume", "t")
        cut(tried, again, pair.second)
    else:
        cut(tried, words, pair.first, pair.second)
    if pair.operation == "delete":
        tried.cm("cluster", "delete", "t", "-y")
    else:
        tried.resume()
    if tried.state() not in ("ready", ""):
        raise AssertionError(f"it is {tried.state()}")
    return f"{tried.state() or 'gone'}, {len(tried.nodes()) if tried.state() else 0} nodes"


def _make_ready(tried: Trial, operation: str) -> None:
    if operation != "create":
        workers = "2" if operation == "shrink" else "1"
        tried.cm("cluster", "create", "t", "-p", "slow", "-n", workers, timeout=600)


def cut(tried: Trial, words: Sequence[str], *cuts: Cut) -> Answer | None:
    """Run `cm cluster WORDS...` and send it signals, the one after the other; it may end before the last one comes."""
    with started(tried.cm, "cluster", *words) as running:
        for each in cuts:
            if not running.is_there_at(each.at):
                break
            time.sleep(each.after)
            running.send(each.number)
        return running.answer()


def cut_and_finish(tried: Trial, words: Sequence[str], cuts: Sequence[Cut], *, create: Sequence[str]) -> str:
    """Cut an operation off, and perhaps its roll-back as well; `resume` finishes it, or another delete."""
    if words != create:
        tried.cm("cluster", *create, timeout=600)
    cut(tried, words, *cuts)
    if words[0] == "delete":
        tried.cm("cluster", *words, timeout=600)
    else:
        tried.resume()
    if (state := tried.state()) not in ("ready", ""):
        raise AssertionError(f"it is {state}")
    return state or "gone"


CASES = tuple(Case(pair.name, "local", partial(cut_twice, pair=pair)) for pair in (*PAIRS, *ONCE))
