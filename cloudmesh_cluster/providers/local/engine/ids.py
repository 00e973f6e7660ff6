"""Which ids of this machine the nodes' users get: root's own free range, or the subordinate ids of a user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloudmesh_cluster.providers.local.engine.errors import EngineError

IDS_OF_A_NODE = 65536
FIRST_FREE_CANDIDATE = 0x70000000
LAST_CANDIDATE = 0x7FFF0000

Row = tuple[int, int, int]
Range = tuple[int, int]


@dataclass(frozen=True)
class Ids:
    """The rows (first id inside, first id outside, count) of a user namespace's uid and gid map."""

    uids: tuple[Row, ...]
    gids: tuple[Row, ...]

    @property
    def root(self) -> tuple[int, int]:
        """The uid and gid outside of root inside."""
        return self.uids[0][1], self.gids[0][1]


def ids_of_this_user() -> Ids:
    """Return the ids that nodes of the calling user get.

    Raises:
        EngineError: an ordinary user has no subordinate ids; or root finds no free range.

    """
    uid = os.geteuid()
    if uid == 0:
        start = free_range([*_ranges("/etc/subuid"), *_ranges("/etc/subgid")])
        return Ids(((0, start, IDS_OF_A_NODE),), ((0, start, IDS_OF_A_NODE),))
    return Ids(_user_rows("/etc/subuid", uid, uid), _user_rows("/etc/subgid", uid, os.getegid()))


def free_range(taken: Iterable[Range]) -> int:
    """Return the first id of a range that overlaps no range of `taken` (start, count).

    Raises:
        EngineError: all candidates are taken.

    """
    rows = list(taken)
    for start in range(FIRST_FREE_CANDIDATE, LAST_CANDIDATE, IDS_OF_A_NODE):
        if not any(first < start + IDS_OF_A_NODE and start < first + count for first, count in rows):
            return start
    raise EngineError("no range of 65536 ids is free", "remove rows that nobody needs from /etc/subuid")


def subordinate_range(lines: Iterable[str], names: frozenset[str]) -> Range | None:
    """Return the largest range (start, count) that the lines of a subuid file give to one of `names`."""
    ranges = [(start, count) for name, start, count in _parse(lines) if name in names]
    return max(ranges, key=lambda row: row[1], default=None)


def user_name(uid: int) -> str:
    """Return the name of a user, or the number as text when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _user_rows(path: str, uid: int, own: int) -> tuple[Row, ...]:
    name = user_name(uid)
    found = subordinate_range(_lines(path), frozenset({name, str(uid)}))
    if found is None or found[1] < IDS_OF_A_NODE - 1:
        group = path.endswith("gid")
        raise EngineError(
            f"user {name} has no {IDS_OF_A_NODE} subordinate {'group' if group else 'user'} ids in {path}",
            f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
            " (choose a range that no other row has)",
        )
    start, count = found
    return ((0, own, 1), (1, start, min(count, IDS_OF_A_NODE)))


def _ranges(path: str) -> list[Range]:
    return [(start, count) for _, start, count in _parse(_lines(path))]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _parse(lines: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    for line in lines:
        fields = line.split(":")
        if len(fields) == 3 and fields[1].isdecimal() and fields[2].strip().isdecimal():
            yield fields[0], int(fields[1]), int(fields[2])
