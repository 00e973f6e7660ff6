"""Faults of clusters of machines that exist: each case has two machines of its own, which must be as they were."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from tests.baremetal.differences import differences
from tests.faults.case import NAME, Case, Trial
from tests.faults.cuts import INT, KILL, TERM, Cut, cut_and_finish
from tests.support.journal_watch import Instant, begun, undoing
from tests.support.machines import Machines, machines

TAKEN = Instant("machine taken", "SELECT 1 FROM nodes WHERE state='taken'")
CREATE = ("create", NAME, "-p", "metal")
Act = Callable[[Trial, Machines], str]


@contextmanager
def two_machines(tried: Trial) -> Iterator[Machines]:
    """Yield two machines; what differs on them in the end is left."""
    folder = Path(tempfile.mkdtemp(prefix="cm-metal-"))
    layers = images.ensure_base(tried.cm.cache, ids=ids_of_this_user())
    try:
        with machines(folder, tried.cm.cache / "images", layers, [1, 2]) as made:
            made.introduce()
            made.write_provider(tried.cm)
            made.write_profile(tried.cm, "metal")
            before = {index: made.listing(index) for index in made.indices}
            yield made
            tried.judge()
            for index in made.indices:
                tried.left += [f"machine {index}: {path}" for path in differences(before[index], made.listing(index))]
    finally:
        shutil.rmtree(folder)


def on_machines(tried: Trial, act: Act) -> str:
    """Do something with two machines."""
    with two_machines(tried) as made:
        return act(tried, made)


def cut_off(tried: Trial, _: Machines, *, words: tuple[str, ...], cuts: tuple[Cut, ...]) -> str:
    """Cut an operation off on the machines."""
    return cut_and_finish(tried, words, cuts, create=CREATE)


CUTS: tuple[tuple[tuple[str, ...], tuple[Cut, ...]], ...] = (
    (CREATE, (Cut(TAKEN, KILL),)),
    (CREATE, (Cut(begun("wire"), KILL),)),
    (CREATE, (Cut(begun("verify"), KILL),)),
    (CREATE, (Cut(begun("wire"), INT), Cut(undoing("provision"), KILL, 0.3))),
    (CREATE, (Cut(begun("verify"), TERM), Cut(undoing("provision"), INT))),
    (("replace", NAME, "worker-1"), (Cut(begun("destroy"), KILL, 0.3),)),
    (("delete", NAME, "-y"), (Cut(begun("destroy"), KILL, 0.3),)),
)
CASES = (
    *(
        Case(f"{words[0]}: {', then '.join(map(str, cuts))}", "baremetal",
             partial(on_machines, act=partial(cut_off, words=words, cuts=cuts)))
        for words, cuts in CUTS
    ),
)  # fmt: skip
