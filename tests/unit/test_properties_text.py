"""Properties of what reads foreign text: targets, words, the greeting and the propagation's report."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudmesh_cluster.cli.lines import Incomplete, parse
from cloudmesh_cluster.core.errors import CmError
from cloudmesh_cluster.core.model import Node, node_names
from cloudmesh_cluster.core.targets import fold, select
from cloudmesh_cluster.nodes.boot_steps import Greeting, PropagationReport, parse_greeting, parse_propagation

NODES = tuple(
    Node(name, "worker" if index else "master", index, "running", f"10.0.0.{index}")
    for index, name in enumerate(node_names("t", 12))
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPropertyPropertyPropertyPropertyProperty12"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
few = settings(max_examples=25, deadline=None, derandomize=True, database=None)


@few
@given(st.text() | st.text("0123456789-,[]worke ", max_size=20))
def test_a_target_means_known_nodes_or_is_refused(target: str) -> None:
    """Any text gives some of the nodes, each once and in order, or a CmError."""
    try:
        chosen = select(NODES, target)
    except CmError:
        return
    assert chosen
    assert [node.index for node in chosen] == sorted({node.index for node in chosen})
    assert set(chosen) <= set(NODES)


@few
@given(st.sets(st.sampled_from(NODES), min_size=1))
def test_folded_names_mean_the_same_nodes(chosen: set[Node]) -> None:
    """What `fold` writes, `select` reads."""
    assert set(select(NODES, fold(node.name for node in chosen))) == chosen


@few
@given(st.text() | st.text("ab'\"\\ <>|\n-", max_size=20))
def test_a_line_is_read_or_refused(text: str) -> None:
    """Any text is a line, goes on, or is a CmError."""
    with suppress(CmError, Incomplete):
        parse(text)


@few
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_quoted_words_are_read_as_they_were(words: list[str]) -> None:
    """What `shlex.join` writes, a line says, whatever its words hold."""
    assert parse("x " + shlex.join(words)).words == ("x", *words)


@few
@example(None, "hostname")
@example(float("nan"), "time")
@example(10**400, "time")
@given(JSON, st.sampled_from(["hostname", "public_key", "time", "cloud_init", "result", "status", "system"]))
def test_a_greeting_is_of_its_types_or_refused(value: Any, key: str) -> None:
    """A greeting in which any field is anything is a Greeting of texts, or a CmError."""
    data = {"hostname": "t", "public_key": KEY, "time": 1.5, "cloud_init": "finished", "status": None}
    data |= {"result": {"v1": {"errors": []}}, key: value}
    try:
        greeting = parse_greeting(json.dumps(data))
    except CmError:
        return
    assert isinstance(greeting, Greeting)
    assert isinstance(greeting.hostname, str)
    assert abs(greeting.time) < float("inf")


@few
@example("lost", "state")
@example(None, "operation")
@example({"t": 1}, "peers")
@given(JSON, st.sampled_from(["operation", "state", "peers"]))
def test_a_report_is_of_its_types_or_refused(value: Any, key: str) -> None:
    """A report in which any field is anything is a PropagationReport of texts, or a CmError."""
    data = {"operation": "1", "state": "ok", "peers": {"t": "ok"}, key: value}
    try:
        report = parse_propagation(json.dumps(data))
    except CmError:
        return
    assert isinstance(report, PropagationReport)
    assert isinstance(report.operation, str)
    assert report.state in ("ok", "failed", "timed out")
    assert all(isinstance(text, str) for pair in report.peers.items() for text in pair)
