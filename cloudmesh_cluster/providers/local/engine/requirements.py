"""What this machine lacks to run nodes, found out before anything is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from cloudmesh_cluster.providers.local.engine.egress import why_no_egress
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from cloudmesh_cluster.providers.local.engine.userns import PATH, why_forbidden


@dataclass(frozen=True)
class Lack:
    """Something that is missing: what, what to do about it, and whether nodes can't run without it."""

    what: str
    hint: str
    fatal: bool = True


def requirements() -> list[Lack]:
    """Return everything that this machine lacks for the nodes of the calling user; empty is good."""
    return [*_programs(), *_rights(), *_way_out()]


def _programs() -> Iterator[Lack]:
    needed = {"ip": "iproute2"} | ({} if os.geteuid() == 0 else {"newuidmap": "uidmap", "newgidmap": "uidmap"})
    for program, package in needed.items():
        if shutil.which(program, path=PATH) is None:
            yield Lack(f"the program {program} is missing", f"apt-get install {package}")


def _rights() -> Iterator[Lack]:
    if hint := why_forbidden():
        yield Lack("user namespaces are forbidden on this machine", hint)
    try:
        ids_of_this_user()
    except EngineError as error:
        yield Lack(error.message, error.hint)


def _way_out() -> Iterator[Lack]:
    if reason := why_no_egress():
        yield Lack(f"nodes can't reach the internet: {reason}", "they reach each other all the same", fatal=False)
