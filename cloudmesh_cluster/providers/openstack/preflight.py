"""What can be refused before a stack exists: everything that a create will need is asked for, all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cloudmesh_cluster.errors import UsageError
from cloudmesh_cluster.model import Problem, Profile
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.networks import subnet_of
from cloudmesh_cluster.providers.openstack.settings import Settings

SERVICES = {"identity": "Keystone", "compute": "Nova", "network": "Neutron", "image": "Glance", "orchestration": "Heat"}


def problems(cloud: Cloud, settings: Settings, profile: Profile) -> list[Problem]:
    """Return what forbids to make such a cluster in this cloud.

    Raises:
        UsageError: there are no credentials, or the cloud refuses them: nothing more can be asked.

    """
    cloud.session  # noqa: B018 (connects, and says what is wrong with the credentials)
    missing = [name for service, name in SERVICES.items() if not _has(cloud, service)]
    if missing:
        return [Problem("cloud", f"has no {', '.join(missing)}", "cm needs Heat; see openstack catalog list")]
    found = [*_images_and_flavors(cloud, settings, profile), *_networks(cloud, settings)]
    return found or [*_quotas(cloud, settings, profile)]


def _has(cloud: Cloud, service: str) -> bool:
    return bool(cloud.sdk.config.get_session().get_endpoint(service_type=service))


def _images_and_flavors(cloud: Cloud, settings: Settings, profile: Profile) -> Iterator[Problem]:
    sdk = cloud.sdk
    for role, spec in (("master", profile.master), ("worker", profile.worker)):
        for kind, name, find, listed in (
            ("image", spec.image or settings.image, sdk.image.find_image, sdk.image.images),
            ("flavor", spec.flavor or settings.flavor, sdk.compute.find_flavor, sdk.compute.flavors),
        ):
            if not name or find(name) is None:
                yield Problem(
                    f"roles.{role}.{kind}",
                    f"no {kind} {name!r} in the cloud" if name else f"no {kind} is named",
                    f"--{kind} with one of: {_names(listed)}",
                )


def _names(listed: Callable[[], Any], most: int = 8) -> str:
    names = sorted(each.name for each in listed() if each.name)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _networks(cloud: Cloud, settings: Settings) -> Iterator[Problem]:
    if settings.network:
        try:
            subnet_of(cloud, settings.network, settings.subnet)
        except UsageError as error:
            yield Problem("provider openstack", error.message, error.hint)
    external = {each.name: each for each in cloud.sdk.network.networks(is_router_external=True)}
    if settings.external_network:
        if settings.external_network not in {*external, *(each.id for each in external.values())}:
            yield Problem(
                "provider openstack",
                f"no external network {settings.external_network!r}",
                f"one of: {', '.join(external)}",
            )
    elif len(external) != 1 and not (settings.network and settings.floating_ip == "none"):
        names = ", ".join(sorted(external)) or "none"
        yield Problem("provider openstack", "which external network?", f"external_network: one of {names}")


def _quotas(cloud: Cloud, settings: Settings, profile: Profile) -> Iterator[Problem]:
    """Compare what the cluster needs with what the project has left; -1 is no limit."""
    compute = cloud.sdk.compute
    flavors = {
        role: compute.find_flavor(spec.flavor or settings.flavor, get_extra_specs=False)
        for role, spec in (("master", profile.master), ("worker", profile.worker))
    }
    workers = profile.worker.count
    nodes = workers + 1
    limits = compute.get_limits().absolute
    floating = {"master": 1, "all": nodes, "none": 0}[settings.floating_ip]
    own = settings.network is None
    needed = [
        ("instances", nodes, limits.instances, limits.instances_used),
        (
            "cores",
            flavors["master"].vcpus + workers * flavors["worker"].vcpus,
            limits.total_cores,
            limits.total_cores_used,
        ),
        (
            "MiB of RAM",
            flavors["master"].ram + workers * flavors["worker"].ram,
            limits.total_ram,
            limits.total_ram_used,
        ),
        ("keypairs", 1, limits.keypairs, len(list(compute.keypairs()))),
    ]
    quota = cloud.sdk.network.get_quota(cloud.sdk.current_project_id, details=True)
    for what, count, row in (
        ("ports", nodes + (1 if own else 0), quota.ports),
        ("floating IPs", floating, quota.floating_ips),
        ("security groups", 2, quota.security_groups),
        ("networks", int(own), quota.networks),
        ("routers", int(own), quota.routers),
    ):
        needed.append((what, count, row["limit"], row["used"]))
    for what, count, limit, used in needed:
        if limit is not None and limit >= 0 and used + count > limit:
            yield Problem(
                "quota",
                f"{count} {what} are needed, {max(limit - used, 0)} of {limit} are left",
                "free some, or ask for more",
            )
