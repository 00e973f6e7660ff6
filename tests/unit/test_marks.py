"""The marks by which what was made for a cluster is recognized."""

from __future__ import annotations

import pytest

from cloudmesh_cluster.core.marks import Marks, in_keypair, in_metadata, in_name, in_tags, in_text, new_cluster_id

OURS, OLD = Marks("web-2", "0123456789abcdef"), Marks("web-2")
PROJECT = "8f14e45fceea167a5a36dedd4bea2543"


@pytest.mark.parametrize("marks", [OURS, OLD], ids=["with an id", "without"])
def test_marks_are_read_as_they_were_written(marks: Marks) -> None:
    """Tags, metadata and descriptions give back name and id of the cluster."""
    assert in_tags(marks.tags) == marks
    assert in_metadata({**marks.metadata, "cm_role": "master"}) == marks
    assert in_text(marks.text) == marks
    assert in_text(f"SSH from where the cluster was made ({marks.text})") == marks


def test_a_name_proves_nothing() -> None:
    """What has only our name, or a name that begins with it, has no marks."""
    for name in ("cm-web-2", "cm-web-2-login", "web-2-master", "cm-web-2-0123"):
        assert in_name(name) is None
        assert in_keypair(name, PROJECT) is None
        assert in_text(name) is None
    assert in_text("rules of our web servers (cm-web-2)") is None
    assert in_tags(["cm-cluster-web-2"]) is None
    assert in_tags(["web"]) is None
    assert in_metadata({"role": "master"}) is None


def test_a_key_pair_is_of_one_project() -> None:
    """All projects of a user have his key pairs: the name says whose one is, and another project has nothing of it."""
    name = f"{OURS.name}-{PROJECT}"

    assert in_keypair(name, PROJECT) == OURS
    assert in_keypair(name, PROJECT[::-1]) is None


def test_ids_differ() -> None:
    """Two clusters of one name have different marks."""
    one, two = (Marks("web", new_cluster_id()) for _ in range(2))

    assert one != two
    assert in_name(one.name) == one
    assert set(one.tags) & set(two.tags) == {"cm", "cm-cluster-web"}
