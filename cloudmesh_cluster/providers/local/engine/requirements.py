"""What this machine lacks to run nodes, found out before anything is made."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloudmesh_cluster.providers.local.engine.egress import why_no_egress
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from cloudmesh_cluster.providers.local.engine.launch import run_inside
from cloudmesh_cluster.providers.local.engine.rootfs import remove_contents
from cloudmesh_cluster.providers.local.engine.userns import PATH

OLDEST_KERNEL = (5, 11)


@dataclass(frozen=True)
class Lack:
    """Something that is missing: what, what to do about it, and whether nodes can't run without it."""

    what: str
    hint: str
    fatal: bool = True


def requirements() -> list[Lack]:
    """Return everything that this machine lacks for the nodes of the calling user; empty is good."""
    lacks = [*_programs(), *_rights()]
    return [*(lacks or _tried()), *_way_out()]


def _programs() -> Iterator[Lack]:
    needed = {"ip": "iproute2"} | ({} if os.geteuid() == 0 else {"newuidmap": "uidmap", "newgidmap": "uidmap"})
    for program, package in needed.items():
        if shutil.which(program, path=PATH) is None:
            yield Lack(f"the program {program} is missing", f"apt-get install {package}")


def _rights() -> Iterator[Lack]:
    if _kernel() < OLDEST_KERNEL:
        yield Lack(f"Linux {os.uname().release} is too old", "5.11 or newer has overlays in user namespaces")
    try:
        ids_of_this_user()
    except EngineError as error:
        yield Lack(error.message, error.hint)


def _tried() -> Iterator[Lack]:
    # Containers, AppArmor, seccomp and settings may each forbid it: only a trial tells.
    try:
        run_inside(remove_contents, {"paths": []}, ids=ids_of_this_user(), folders={"engine": Path(__file__).parent})
    except EngineError as error:
        yield Lack(error.message, error.hint)


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def _way_out() -> Iterator[Lack]:
    if reason := why_no_egress():
        yield Lack(f"nodes can't reach the internet: {reason}", "they reach each other all the same", fatal=False)
