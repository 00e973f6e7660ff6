"""Faults of conda's environments: what an environment was it stays, until another one is there whole."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from signal import Signals

from tests.faults.case import NAME, Case, Trial
from tests.faults.cuts import KILL, TERM
from tests.support.conda_channel import make_channel, serving
from tests.support.journal_watch import started

GREET = "/opt/anaconda/envs/e/bin/greet"


def cut_off(tried: Trial, *, first: bool, after: str, number: Signals) -> str:
    """Cut off what makes an environment, or changes it; the same again finishes it.

    Args:
        tried: where.
        first: whether it is made; else it is there with the older `greet`.
        after: the words of `cm` after which it is cut off.
        number: by which signal.

    """
    providers = tried.cm.home / "providers.yaml"
    providers.touch(mode=0o600)
    providers.write_text("near: {type: local, host_access: true}\n")
    tried.cm("cluster", "create", NAME, "--provider", "near", "-n", "1", timeout=600)
    with tempfile.TemporaryDirectory() as folder, serving(make_channel(Path(folder) / "channel")) as channel:
        make = ("conda", "create", NAME, "-n", "e", "-c", channel.address, "python", "greet=0.1")
        words = make if first else ("conda", "install", NAME, "-n", "e", "greet=0.2")
        if not first:
            tried.cm(*make, timeout=600)
        with started(tried.cm, *words) as running:
            running.wait_for_words(after)
            running.send(number)
            running.answer()
        before = said(tried)
        if before not in ((["greet 0.1"] * 2,) if not first else ([], ["greet 0.1"] * 2)):
            tried.false.append(f"the nodes say {before}")
        tried.cm(*words, timeout=600, expect=None if before and first else 0)
        tried.cm("conda", "check", NAME, "-n", "e")
        return f"{said(tried)[0]} on both nodes"


def said(tried: Trial) -> list[str]:
    """Return what `greet` says on each node that has it."""
    line = f"[ ! -e {GREET} ] || {GREET}"
    rows = json.loads(tried.cm("cluster", "cmd", NAME, "-f", "json", "--", line).stdout)
    return [row["stdout"].split(" from ")[0] for row in rows if row["stdout"]]


CASES = tuple(
    Case(f"conda {'create' if first else 'install'}: {number.name.removeprefix('SIG')} after {after!r}", "local",
         partial(cut_off, first=first, after=after, number=number))
    for first, after, number in (
        (True, "build e ...", KILL),
        (True, "build e done", KILL),
        (True, "build e done", TERM),
        (False, "build e ...", KILL),
        (False, "build e done", KILL),
    )
)  # fmt: skip
