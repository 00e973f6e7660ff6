"""Which image and flavor roles get that name none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cloudmesh_cluster.core.model import RoleSpec
from cloudmesh_cluster.providers.openstack.choices import newest_debian, sized

FLAVORS = [
    SimpleNamespace(id=f"id-{name}", name=name, vcpus=cpus, ram=memory, disk=disk)
    for name, cpus, memory, disk in (
        ("large", 2, 4096, 40),
        ("tiny", 1, 512, 5),
        ("small", 1, 1024, 10),
        ("medium", 2, 2048, 20),
        ("no-disk", 1, 1024, 0),
    )
]


def image(name: str, *, created: str = "2026-01-01", visibility: str = "public", status: str = "active") -> Any:
    """Return an image as Glance lists it."""
    return SimpleNamespace(id=f"id-{created}", name=name, created_at=created, visibility=visibility, status=status)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["debian-12", "never-boots"], "debian-12"),
        (["Debian 13 trixie", "debian-12", "ubuntu-24.04"], "Debian 13 trixie"),
        (["debian-11", "my-debian-12", "Fedora 41"], None),
        ([], None),
    ],
)
def test_image(names: list[str], chosen: str | None) -> None:
    """The newest Debian by its name; none where none is called so."""
    assert newest_debian([image(name) for name in names]) == chosen


def test_image_of_the_same_name() -> None:
    """Of two of the same name the younger is meant, by its id, since the name would be refused."""
    assert newest_debian([image("debian-12", created="2026-02-01"), image("debian-12")]) == "id-2026-02-01"


def test_image_that_anybody_shared() -> None:
    """What strangers offer, or what is not there yet, is not chosen."""
    offered = [image("debian-13", visibility="community"), image("debian-13", status="queued"), image("debian-12")]

    assert newest_debian(offered) == "debian-12"


@pytest.mark.parametrize(
    ("spec", "default", "flavor", "memory"),
    [
        (RoleSpec(1), None, "small", 1024),
        (RoleSpec(1, memory=2000), None, "medium", 2048),
        (RoleSpec(1, cpus=2.0, memory=512), None, "medium", 2048),
        (RoleSpec(1, memory=4096), "tiny", "tiny", 512),
        (RoleSpec(1, flavor="id-large"), "tiny", "id-large", 4096),
        (RoleSpec(1, flavor="huge", memory=99), None, "huge", 99),
        (RoleSpec(1, memory=9999), None, None, 9999),
    ],
)
def test_flavor(spec: RoleSpec, default: str | None, flavor: str | None, memory: int) -> None:
    """The smallest that has what is declared; a named one counts, and the role gets its true size."""
    completed = sized(spec, default, FLAVORS)

    assert (completed.flavor, completed.memory) == (flavor, memory)


def test_flavor_without_a_disk() -> None:
    """One without a disk is chosen for servers that boot from volumes alone."""
    assert sized(RoleSpec(1), None, FLAVORS, needs_disk=False).flavor == "no-disk"
