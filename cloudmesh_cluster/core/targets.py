"""Targets: which nodes a word means, and many nodes' names and answers as few lines.

A target is `all`, a role (`master`, `worker`; also `head`, `compute`), a node's name in full or short, an index (0 is
the master), a range of indices `2-5`, or a nodeset `worker-[1-3,7]`. A comma joins targets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cloudmesh_cluster.core.errors import NotFound, did_you_mean
from cloudmesh_cluster.core.model import CommandResult, Node

ROLE_WORDS = {"all": ("master", "worker"), "master": ("master",), "head": ("master",)}
ROLE_WORDS |= {"worker": ("worker",), "compute": ("worker",)}
FORMS = "all, master, worker, head, compute, a node's name, an index, 2-5, worker-[1-3,7]; comma joins"

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_NODESET = re.compile(r"([^\[\]]*)\[([0-9,-]+)\]([^\[\]]*)")
_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]{0,17})")


def select(nodes: Sequence[Node], target: str) -> tuple[Node, ...]:
    """Return the nodes that a target means, each once, in the order of their indices.

    Raises:
        NotFound: a part of the target means no node, or only some of the nodes it names exist.

    """
    chosen: dict[int, Node] = {}
    for part in _parts(target):
        found = _select_part(nodes, part)
        if not found:
            raise _not_found(nodes, part)
        chosen.update((node.index, node) for node in found)
    return tuple(chosen[index] for index in sorted(chosen))


def fold(names: Iterable[str]) -> str:
    """Return names as a nodeset: `t-master,t-worker-[1-3,7]`; groups stand where their first name stood."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        numbers = groups.setdefault((match[1] if match else name, match is not None), [])
        if match:
            numbers.append(int(match[2]))
    return ",".join(
        _folded(prefix, sorted(set(numbers))) if numbered else prefix for (prefix, numbered), numbers in groups.items()
    )


def fold_answers(results: Iterable[CommandResult]) -> list[tuple[str, CommandResult]]:
    """Group equal answers (exit, stdout, stderr), the biggest group first, odd ones out last.

    Returns:
        A nodeset and the first of the equal results for each group; groups of a size keep their order.

    """
    groups: dict[tuple[int, str, str], list[CommandResult]] = {}
    for result in results:
        groups.setdefault((result.exit, result.stdout, result.stderr), []).append(result)
    ordered = sorted(groups.values(), key=len, reverse=True)
    return [(fold(result.node for result in group), group[0]) for group in ordered]


def _parts(target: str) -> list[str]:
    """Split at the commas that are not inside brackets."""
    return [part.strip() for part in re.split(r",(?![^\[\]]*\])", target)]


def _select_part(nodes: Sequence[Node], part: str) -> list[Node]:
    if roles := ROLE_WORDS.get(part):
        return [node for node in nodes if node.role in roles]
    if _RANGE.fullmatch(part):
        by_index = {str(node.index): node for node in nodes}
        return _numbered(by_index, ("", part, ""))
    by_name = {name: node for node in nodes for name in (node.name, node.short_name)}
    if nodeset := _NODESET.fullmatch(part):
        return _numbered(by_name, (nodeset[1], nodeset[2], nodeset[3]))
    return [by_name[part]] if part in by_name else []


def _numbered(known: dict[str, Node], nodeset: tuple[str, str, str]) -> list[Node]:
    """Return the nodes of all numbers of a nodeset; none at all when one does not exist."""
    prefix, ranges, suffix = nodeset
    found: list[Node] = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            return []
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last - first >= len(known):
            return []
        names = [f"{prefix}{number}{suffix}" for number in range(first, last + 1)]
        if not all(name in known for name in names):
            return []
        found += (known[name] for name in names)
    return found


def _not_found(nodes: Sequence[Node], part: str) -> NotFound:
    words = [*ROLE_WORDS, *(name for node in nodes for name in (node.short_name, node.name))]
    close = did_you_mean(part, words)
    last = max((node.index for node in nodes), default=0)
    hint = close if close.startswith("did you mean") else f"expected {FORMS}; there are nodes 0-{last}"
    return NotFound("target", part, words, hint=hint)


def _folded(prefix: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"{prefix}{numbers[0]}"
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    written = (str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"{prefix}[{','.join(written)}]"
