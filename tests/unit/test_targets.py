"""Targets and nodesets."""

from __future__ import annotations

import time

import pytest

from cloudmesh_cluster.core.errors import NotFound
from cloudmesh_cluster.core.model import CommandResult, Node, node_names
from cloudmesh_cluster.core.targets import fold, fold_answers, select


def nodes_of(workers: int) -> tuple[Node, ...]:
    """Return the nodes of a cluster t."""
    return tuple(
        Node(name, "worker" if index else "master", index, "running", f"10.0.0.{index % 250}")
        for index, name in enumerate(node_names("t", workers))
    )


@pytest.mark.parametrize(
    ("target", "indices"),
    [
        ("all", range(9)),
        ("master", [0]),
        ("head", [0]),
        ("worker", range(1, 9)),
        ("compute", range(1, 9)),
        ("t-worker-3", [3]),
        ("worker-3", [3]),
        ("t-master", [0]),
        ("0", [0]),
        ("8", [8]),
        ("2-5", [2, 3, 4, 5]),
        ("4-4", [4]),
        ("0-8", range(9)),
        ("worker-[1-3,7]", [1, 2, 3, 7]),
        ("t-worker-[1-3,7]", [1, 2, 3, 7]),
        ("t-worker-[5]", [5]),
        ("3,6", [3, 6]),
        ("6,3,worker-6,master", [0, 3, 6]),
        ("worker-[7,1-2],head", [0, 1, 2, 7]),
        (" 1 , 2 ", [1, 2]),
    ],
)
def test_targets(target: str, indices: list[int]) -> None:
    """A target gives these nodes, each once, in the order of their indices."""
    assert [node.index for node in select(nodes_of(8), target)] == list(indices)


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("9", "9"),
        ("7-9", "7-9"),
        ("5-2", "5-2"),
        ("1-999999999", "1-999999999"),
        ("worker-9", "worker-9"),
        ("worker-[7-9]", "worker-[7-9]"),
        ("worker-[]", "worker-[]"),
        ("worker-[1-]", "worker-[1-]"),
        ("worker-[1", "worker-[1"),
        ("u-worker-1", "u-worker-1"),
        ("all,wroker", "wroker"),
        (",3", ""),
        ("", ""),
        ("-1", "-1"),
        ("٣", "٣"),
    ],
)
def test_unknown_targets(target: str, part: str) -> None:
    """What means no node, or nodes of which one does not exist, is an error that names that part."""
    with pytest.raises(NotFound) as caught:
        select(nodes_of(8), target)

    assert (caught.value.kind, caught.value.name) == ("target", part)
    assert caught.value.hint


def test_hints() -> None:
    """The error says what was meant, or else what there is."""
    with pytest.raises(NotFound) as near:
        select(nodes_of(8), "wroker")
    with pytest.raises(NotFound) as far:
        select(nodes_of(8), "12")

    assert near.value.hint == "did you mean 'worker'?"
    assert far.value.hint.endswith("there are nodes 0-8")


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["t-master"], "t-master"),
        (["t-worker-1"], "t-worker-1"),
        (["t-worker-1", "t-worker-2", "t-worker-3", "t-worker-7", "t-master"], "t-worker-[1-3,7],t-master"),
        (["t-master", "t-worker-2", "t-worker-1"], "t-master,t-worker-[1-2]"),
        (["worker-10", "worker-9", "worker-9"], "worker-[9-10]"),
        (["a-01", "a-2"], "a-01,a-2"),
        (["web", "web1"], "web,web1"),
    ],
)
def test_fold(names: list[str], folded: str) -> None:
    """Names become the shortest nodeset; a group stands where its first name stood."""
    assert fold(names) == folded


def test_fold_is_a_target() -> None:
    """What is printed can be typed: a folded nodeset selects the nodes it was made of."""
    nodes = nodes_of(20)
    some = [node for node in nodes if node.index % 3]

    assert list(select(nodes, fold(node.name for node in some))) == some
    assert list(select(nodes, fold(node.short_name for node in some))) == some


def test_answers_are_grouped() -> None:
    """Equal answers are one, the biggest group first, the odd ones last in the order they came."""
    answers = [("a", 0), ("b", 0), ("b", 0), ("b", 1), ("b", 0)]
    results = [
        CommandResult(f"t-worker-{number}", status, text, "", number)
        for number, (text, status) in enumerate(answers, start=1)
    ]

    folded = fold_answers(results)

    assert [(names, result.stdout, result.exit) for names, result in folded] == [
        ("t-worker-[2-3,5]", "b", 0),
        ("t-worker-1", "a", 0),
        ("t-worker-4", "b", 1),
    ]


def test_many_nodes_are_quick() -> None:
    """Selecting and folding is linear: a thousand nodes take no time that a person notices."""
    nodes = nodes_of(1000)
    began = time.process_time()

    assert fold(node.name for node in select(nodes, "worker-[1-500,502-1000],master")) == (
        "t-master,t-worker-[1-500,502-1000]"
    )
    assert time.process_time() - began < 0.5
