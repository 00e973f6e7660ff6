"""What can be refused before a stack exists: everything that is needed is asked for, all problems at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudmesh_cluster.core.errors import ProviderError, UsageError
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Node, Problem, Profile, RoleSpec
from cloudmesh_cluster.providers.base import Boot, NodeBoot
from cloudmesh_cluster.providers.openstack import quotas, template
from cloudmesh_cluster.providers.openstack.blueprint import stack_of
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.explained import in_words
from cloudmesh_cluster.providers.openstack.networks import subnet_of
from cloudmesh_cluster.providers.openstack.settings import Settings
from cloudmesh_cluster.providers.openstack.stack import Stack

SERVICES = {"identity": "Keystone", "compute": "Nova", "network": "Neutron", "image": "Glance", "orchestration": "Heat"}
WHERE = "provider openstack"


@dataclass(frozen=True)
class Wanted:
    """What is to be made.

    Args:
        profile: of the cluster.
        cluster: its name; empty when none is meant.
        nodes: those to make; those of the profile where no cluster is meant.
        grows: whether the cluster is there already.
        marks: of the cluster.

    """

    profile: Profile
    cluster: str
    nodes: Sequence[Node]
    grows: bool
    marks: Marks

    @property
    def specs(self) -> dict[str, RoleSpec]:
        """What the profile says of each role that a node is made of."""
        both = {"master": self.profile.master, "worker": self.profile.worker}
        return {role: spec for role, spec in both.items() if any(node.role == role for node in self.nodes)}


def wanted(profile: Profile, marks: Marks, new: Sequence[Node] | None) -> Wanted:
    """Return what is to be made; without a list of nodes, what the profile says."""
    if new is not None:
        return Wanted(profile, marks.cluster, new, grows=all(node.role != "master" for node in new), marks=marks)
    roles = ["master", *["worker"] * profile.worker.count]
    nodes = [Node(f"preview-{index}", role, index, "planned", "") for index, role in enumerate(roles)]  # type: ignore[arg-type]  # (roles are these two words)
    return Wanted(profile, marks.cluster, nodes, grows=False, marks=marks)


def problems(cloud: Cloud, settings: Settings, want: Wanted) -> list[Problem]:
    """Return what forbids to make such nodes in this cloud.

    Raises:
        UsageError: there are no credentials, or the cloud refuses them: nothing more can be asked.

    """
    found = [*_credentials(cloud)]
    services = SERVICES | ({"block-storage": "Cinder"} if _needs_volumes(settings, want.specs) else {})
    missing = [name for service, name in services.items() if not cloud.has(service)]
    if missing:
        return [*found, Problem("cloud", f"has no {', '.join(missing)}", "see openstack catalog list")]
    flavors: dict[str, Any] = {}
    found += images_and_flavors(cloud, settings, want.specs, flavors)
    found += _networks(cloud, settings)
    found += _names(cloud, want)
    found += quotas.problems(cloud, settings, want.nodes, flavors, want.specs, grows=want.grows)
    # Heat's own opinion comes last: it stops at its first problem, which may be one of those above.
    return found or [*_template(cloud, settings, want)]


def _needs_volumes(settings: Settings, specs: Mapping[str, RoleSpec]) -> bool:
    return settings.root_disk is not None or any(spec.volumes for spec in specs.values())


def _credentials(cloud: Cloud) -> Iterator[Problem]:
    """Find an application credential with which Heat can't make the trust that it works by."""
    token = json.loads(cloud.session.auth.get_auth_state() or "{}").get("body", {}).get("token", {})
    if token.get("application_credential", {}).get("restricted"):
        yield Problem(
            "cloud",
            "the application credential is restricted, and Heat can't work on its behalf",
            "openstack application credential create --unrestricted NAME",
        )


def images_and_flavors(
    cloud: Cloud, settings: Settings, specs: Mapping[str, RoleSpec], flavors: dict[str, Any]
) -> Iterator[Problem]:
    """Yield which images and flavors of roles can't be had; put those that can into `flavors`."""
    sdk = cloud.sdk
    for role, spec in specs.items():
        image_name, flavor_name = spec.image or settings.image, spec.flavor or settings.flavor
        image = sdk.image.find_image(image_name, ignore_missing=True) if image_name else None
        flavor = sdk.compute.find_flavor(flavor_name, ignore_missing=True) if flavor_name else None
        if image is None:
            yield _unknown(role, "image", image_name, sdk.image.images)
        elif image.status != "active":
            yield Problem(f"roles.{role}.image", f"image {image_name!r} is {image.status}", "choose another one")
        if flavor is None:
            yield _unknown(role, "flavor", flavor_name, sdk.compute.flavors)
            continue
        flavors[role] = flavor
        if image is not None:
            yield from _too_small(role, image, flavor, settings.root_disk)


def _unknown(role: str, kind: str, name: str | None, listed: Callable[[], Any], most: int = 8) -> Problem:
    names = sorted(each.name for each in listed() if each.name)
    known = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    what = f"no {kind} {name!r} in the cloud" if name else f"no {kind} is named"
    return Problem(f"roles.{role}.{kind}", what, f"--{kind} with one of: {known}")


def _too_small(role: str, image: Any, flavor: Any, root_disk: int | None) -> Iterator[Problem]:
    """Compare what an image needs with what there is; a flavor without a disk is as large as the image."""
    of_flavor, larger = f"flavor {flavor.name!r}", "--flavor with a larger one: openstack flavor list"
    space = max(image.min_disk or 0, -(-(image.size or 0) // 2**30))
    where = f"roles.{role}.flavor"
    disk = (where, of_flavor, flavor.disk or space, larger)
    if root_disk:
        disk = (WHERE, "root_volume", root_disk, f"root_volume: {space}, or more")
    for what, needed, unit, (place, whose, has, hint) in (
        ("memory", image.min_ram or 0, "MiB", (where, of_flavor, flavor.ram, larger)),
        ("disk", space, "GiB", disk),
    ):
        if needed > has:
            lack = f"{whose} has {has} {unit} of {what}, image {image.name!r} needs {needed} {unit}"
            yield Problem(place, lack, hint)


def _networks(cloud: Cloud, settings: Settings) -> Iterator[Problem]:
    if settings.network:
        try:
            subnet_of(cloud, settings.network, settings.subnet)
        except UsageError as error:
            yield Problem(WHERE, error.message, error.hint)
    external = {each.name: each for each in cloud.sdk.network.networks(is_router_external=True)}
    if settings.external_network:
        if settings.external_network not in {*external, *(each.id for each in external.values())}:
            yield Problem(WHERE, f"no external network {settings.external_network!r}", f"one of: {', '.join(external)}")
    elif len(external) != 1 and not (settings.network and settings.floating_ip == "none"):
        names = ", ".join(sorted(external)) or "none"
        yield Problem(WHERE, "which external network?", f"external_network: one of {names}")


def _names(cloud: Cloud, want: Wanted) -> Iterator[Problem]:
    """Find what bears already the names that will be given; what a growing cluster must have, it has."""
    if not want.cluster:
        return
    own = Stack(cloud, want.marks)
    if want.grows and own.find() is None:
        what = f"stack {own.name} is gone: somebody has deleted it"
        yield Problem("cloud", what, f"cm cluster delete {want.cluster}")
    if want.grows:
        return
    if (stack := own.of_this_name()) is not None:
        hint = f"another name for the cluster; whose it is: openstack stack show {own.name}"
        yield Problem("cloud", f"there is a stack {own.name} already, {stack.stack_status}", hint)


def _template(cloud: Cloud, settings: Settings, want: Wanted) -> Iterator[Problem]:
    """Let Heat judge the template: it knows its own limits of size, of resources and of stacks."""
    if want.grows:
        return
    nodes = tuple(NodeBoot(node, want.specs[node.role], b"") for node in want.nodes)
    cluster = want.cluster or "preview"
    boot = Boot(cluster, settings.cidr, nodes, operation="preview", propagates=True)
    text = template.render(stack_of(cloud, settings, boot))
    told = template.HOST_KEYS_SIGNAL
    parameters = {
        "login_public_key": "preview",
        "bootstrap_private_key": "preview",
        "user_data": f"{template.NAME} {template.SHORT_NAME} {template.ADDRESS} {told}",
        "last_user_data": f"{template.BOOTSTRAP_PRIVATE_KEY} {template.SIGNAL} {told}",
    }
    try:
        with in_words():
            cloud.heat.stacks.preview(stack_name=Marks(cluster).stack, template=text, parameters=parameters)
    except ProviderError as error:
        yield Problem("cloud", f"Heat refuses the stack: {error.message}", error.hint)
