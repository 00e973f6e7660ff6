"""What a planned cluster takes in all, and what of that there is: what `--dry-run` prints below the plan."""

from __future__ import annotations

from dataclasses import dataclass

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.plan import Plan
from cloudmesh_cluster.plugins.payloads import missing_payloads
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.providers import provider_of
from cloudmesh_cluster.providers.base import Room


@dataclass(frozen=True)
class Totals:
    """What all nodes take together.

    Args:
        nodes: how many they are.
        cpus: their CPUs; None where no limit is declared.
        memory: their memory in MiB; None where no limit is declared.
        disk: their disks in GiB, with volumes; None where they have no size.
        room: of each thing that is limited, how much is needed and how much is left, as the provider knows it.
        downloads: what will be fetched or built, because it is not in the cache.

    """

    nodes: int
    cpus: float | None
    memory: int | None
    disk: int | None
    room: tuple[Room, ...]
    downloads: tuple[str, ...]


def totals(home: Home, plan: Plan) -> Totals:
    """Return what a plan takes; touches nothing."""
    profile, provider = plan.profile, provider_of(home, plan.provider_type, plan.provider_settings)
    specs = [profile.master if node.role == "master" else profile.worker for node in plan.nodes]
    chosen = resolve(profile.plugins, home)
    packages = sorted({package for each in chosen for package in each.plugin.packages})
    cpus = [spec.cpus for spec in specs if spec.cpus is not None]
    memory = [spec.memory for spec in specs if spec.memory is not None]
    return Totals(
        nodes=len(specs),
        cpus=sum(cpus) if len(cpus) == len(specs) else None,
        memory=sum(memory) if len(memory) == len(specs) else None,
        disk=provider.disk(profile, plan.nodes),
        room=provider.room(profile, plan.nodes),
        downloads=(*missing_payloads(chosen, home), *provider.missing(profile, packages)),
    )
