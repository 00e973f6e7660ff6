"""Whether environments are the same: on every node what was recorded, or, without a record, what most nodes have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_CONDA_META = re.compile(r"\./conda-meta/(.+)-([^-]+)-([^-]+)\.json")
_DIST_INFO = re.compile(r"(?:.*/)?([^/]+)-([^/-]+)\.(?:dist|egg)-info/METADATA")
NOTHING = ""


@dataclass(frozen=True)
class Look:
    """What a node says of an environment: the folder it really is, its interpreter, the digest of its files.

    Args:
        node: the node's name.
        folder: where the environment's path leads; empty when there is none.
        interpreter: the words of its Python about itself.
        digest: of the list of its files.
        files: what each file is, by path; empty where only the digest was asked.

    """

    node: str
    folder: str
    interpreter: str
    digest: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Difference:
    """Something that is not the same everywhere: `what` is environment, interpreter, package or file."""

    what: str
    item: str
    expected: str
    actual: str
    node: str


def read_look(node: str, text: str) -> Look:
    """Return what a node has answered to `conda-look`; nothing, if it has no such environment."""
    folder, interpreter, digest, *lines = [*text.splitlines(), "", "", ""][: max(3, len(text.splitlines()))]
    return Look(node, folder, interpreter, digest, files_of(lines))


def files_of(lines: Sequence[str]) -> dict[str, str]:
    """Return what files are, by path: digest and mode, or where a link leads."""
    files: dict[str, str] = {}
    for line in lines:
        about, _, path = line.partition("  ")
        files[path] = f"{files[path]} {about}" if path in files else about
    return files


def packages_of(files: Mapping[str, str]) -> dict[str, str]:
    """Return version and build of each package among the files of an environment, by name; conda's, else Python's."""
    matches = [match for path in files if (match := _CONDA_META.fullmatch(path))]
    if matches:
        return {match[1]: f"{match[2]} {match[3]}" for match in matches}
    return {match[1]: match[2] for path in files if (match := _DIST_INFO.fullmatch(path))}


def most_common(words: Sequence[str]) -> str:
    """Return what most say; of several the first."""
    return Counter(words).most_common(1)[0][0]


def differences(
    looks: Sequence[Look], expected: Mapping[str, str], *, folder: str = "", interpreter: str
) -> list[Difference]:
    """Return all in which nodes differ from what is expected of them.

    Args:
        looks: one for each node, with files where the digest is wrong.
        expected: what each file must be.
        folder: where the environment's path must lead; empty for anywhere.
        interpreter: what its Python must say of itself.

    """
    found: list[Difference] = []
    for look in looks:
        if not look.folder:
            found.append(Difference("environment", "", folder or "there", "missing", look.node))
            continue
        if folder and look.folder != folder:
            found.append(Difference("environment", "lock", _last(folder), _last(look.folder), look.node))
        if look.interpreter != interpreter:
            found.append(Difference("interpreter", "", interpreter, look.interpreter, look.node))
        if look.files:
            found += _of_packages(look, expected)
            found += _of_files(look, expected)
    return found


def _last(folder: str) -> str:
    return folder.rpartition("/")[2]


def _of_packages(look: Look, expected: Mapping[str, str]) -> list[Difference]:
    wanted, there = packages_of(expected), packages_of(look.files)
    return [
        Difference("package", name, wanted.get(name, "none"), there.get(name, "none"), look.node)
        for name in sorted({*wanted, *there})
        if wanted.get(name) != there.get(name)
    ]


def _of_files(look: Look, expected: Mapping[str, str]) -> list[Difference]:
    return [
        Difference("file", path.removeprefix("./"), _brief(expected.get(path)), _brief(look.files.get(path)), look.node)
        for path in sorted({*expected, *look.files})
        if expected.get(path) != look.files.get(path)
    ]


def _brief(about: str | None) -> str:
    """Return what a file is, so that it fits into a table."""
    if about is None:
        return "none"
    return " ".join(word[:12] if re.fullmatch(r"[0-9a-f]{64}", word) else word for word in about.split(" "))
