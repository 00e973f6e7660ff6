"""What image and flavor roles get that name none: the plan says which, so that nothing is decided later."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cloudmesh_cluster.core.model import Profile, RoleSpec
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.settings import Settings

OLDEST_DEBIAN = 12
LEAST_MEMORY, LEAST_CPUS = 1024, 1.0
"""What a node without a declared size gets at least, in MiB and cores."""


def complete(cloud: Cloud, settings: Settings, profile: Profile) -> Profile:
    """Return the profile with an image, a flavor and that flavor's size for each role.

    What the cloud does not have stays as it is: preflight names it.

    Raises:
        UsageError: there are no credentials, or the cloud refuses them.

    """
    cloud.session  # noqa: B018 (connects, and says what is wrong with the credentials)
    flavors = list(cloud.sdk.compute.flavors())
    named = {profile.master.image or settings.image, profile.worker.image or settings.image}
    image = newest_debian(cloud.sdk.image.images()) if None in named else None

    def completed(spec: RoleSpec) -> RoleSpec:
        with_image = replace(spec, image=spec.image or settings.image or image)
        return sized(with_image, settings.flavor, flavors, needs_disk=settings.root_disk is None)

    return replace(profile, master=completed(profile.master), worker=completed(profile.worker))


def newest_debian(images: Iterable[Any]) -> str | None:
    """Return the newest image of the newest Debian, by their names; None when there is none.

    It is the image's name, or its id where others bear the same name.

    Args:
        images: as Glance lists them. Only the cloud's own and the project's count: anybody can share one.

    """
    found = [
        (int(match[1]), str(image.created_at), str(image.name), str(image.id))
        for image in images
        if image.visibility in ("public", "private") and image.status == "active"
        if (match := re.match(r"debian[ _-]*(\d+)", image.name or "", re.IGNORECASE))
        if int(match[1]) >= OLDEST_DEBIAN
    ]
    if not found:
        return None
    *_, name, identity = max(found)
    return name if [each[2] for each in found].count(name) == 1 else identity


def sized(spec: RoleSpec, default: str | None, flavors: Iterable[Any], *, needs_disk: bool = True) -> RoleSpec:
    """Return a role with its flavor, and with the memory and the cores of that: what its nodes will really have.

    Args:
        spec: as the profile says it.
        default: the flavor of roles that name none, from `providers.yaml`.
        flavors: as Nova lists them; the smallest that has what the role declares serves one that names none.
        needs_disk: whether a flavor without a disk can't be chosen.

    """
    name = spec.flavor or default
    if name is None:
        memory, cpus = spec.memory or LEAST_MEMORY, spec.cpus or LEAST_CPUS
        large = [each for each in flavors if each.ram >= memory and each.vcpus >= cpus]
        fitting = [each for each in large if each.disk or not needs_disk]
    else:
        fitting = [each for each in flavors if name in (each.name, each.id)]
    if not fitting:
        return replace(spec, flavor=name)
    chosen = min(fitting, key=lambda each: (each.ram, each.vcpus, each.disk, each.name))
    return replace(spec, flavor=name or chosen.name, memory=chosen.ram, cpus=float(chosen.vcpus))
