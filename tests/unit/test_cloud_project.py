"""Where a cluster can be, and where it can't."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudmesh_cluster.core.model import CloudProject

HERE = CloudProject("https://cloud:5000/v3", "RegionOne", "p1", "demo", "u1")


@pytest.mark.parametrize(
    ("there", "elsewhere"),
    [
        (HERE, False),
        (replace(HERE, user_id="u2"), False),
        (replace(HERE, name="renamed"), False),
        (replace(HERE, auth_url="https://cloud/identity/v3"), False),
        (replace(HERE, region=""), False),
        (replace(HERE, region="RegionTwo"), True),
        (replace(HERE, id="p2"), True),
    ],
)
def test_a_cluster_stays_in_its_project_and_region(there: CloudProject, elsewhere: bool) -> None:
    """Another user, name or address may lead to the same project; another id or region does not."""
    assert there.is_elsewhere(HERE) is elsewhere
    assert HERE.is_elsewhere(there) is elsewhere


def test_a_project_is_named_for_people_and_for_clients() -> None:
    """Messages say name, id, address and region, by which the project is found again."""
    assert str(HERE) == "project demo (p1) of https://cloud:5000/v3, region RegionOne"
