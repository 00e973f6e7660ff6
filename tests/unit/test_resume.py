"""What `cm cluster resume` goes on with, and what other commands say of an operation that has not ended well."""

from __future__ import annotations

import asyncio

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.events import now, silent
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.resume import resume
from cloudmesh_cluster.state.records import Operation
from cloudmesh_cluster.state.store import State
from tests.support.command_line import CommandLine
from tests.support.journalled import add_cluster


def failed(cm: CommandLine, kind: str) -> Home:
    """Have a cluster `t` of which an operation failed."""
    home = Home(cm.home, cm.cache)
    add_cluster(home, "t")
    with State(home) as state:
        state.set_cluster_state("t", "failed")
        state.begin_operation(Operation(f"op-{kind}", "t", kind, "failed", 1, now(), now(), {}, "no luck"))
    return home


def test_a_delete_is_not_resumed_unasked(cm: CommandLine) -> None:
    """Who resumes a delete is asked first; where nobody can be asked, nothing is done, and it says what would be."""
    home = failed(cm, "delete")
    refused = cm("cluster", "resume", "t", expect=2)
    with pytest.raises(UsageError, match="resume would go on deleting cluster 't'"):
        asyncio.run(resume(home, "t", silent))

    assert "going on with its delete" in refused.stderr
    assert "Nobody is here to ask" in refused.stderr
    with State(home) as state:
        assert state.cluster_names() == ["t"]


def test_yes_answers_the_question(cm: CommandLine) -> None:
    """With -y a delete is gone on with."""
    home = failed(cm, "delete")
    cm("cluster", "resume", "t", "-y")

    with State(home) as state:
        assert state.cluster_names() == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("delete", "cm cluster resume t goes on deleting it"),
        ("scale", "cm cluster resume t goes on with its scale, cm cluster delete t removes the cluster"),
    ],
)
def test_a_refusal_says_what_resume_would_do(cm: CommandLine, kind: str, said: str) -> None:
    """A cluster that failed is refused with the operation that `resume` would go on with."""
    failed(cm, kind)

    assert said in cm("cluster", "scale", "t", "+1", expect=2).stderr
