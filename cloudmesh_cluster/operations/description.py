"""What a stack says of its cluster, so that another machine can go on with it: everything but secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cloudmesh_cluster import __version__
from cloudmesh_cluster.codec import decode, encode
from cloudmesh_cluster.errors import UsageError
from cloudmesh_cluster.model import Profile

OWN_TO_A_MACHINE = ("os_cloud",)
"""Settings that mean something else on another machine, or nothing."""


@dataclass(frozen=True)
class ScriptName:
    """A script that new nodes run, without its text, which may hold secrets; `exit` is what it must end with."""

    role: str
    name: str
    digest: str
    exit: int = 0


@dataclass(frozen=True)
class Description:
    """A cluster as its stack describes it.

    Args:
        version: of the `cm` that wrote it.
        profile: without the scripts.
        provider_settings: but for those that belong to one machine.
        network: the nodes' network as CIDR.
        scripts: in order.
        bootstrap_keys: the public keys that nodes were booted with; none of them may open anything.
        cluster_id: the random id of the cluster; empty where an older version has made it.

    """

    version: str
    profile: Profile
    provider_settings: dict[str, object]
    network: str
    scripts: tuple[ScriptName, ...] = ()
    bootstrap_keys: tuple[str, ...] = ()
    cluster_id: str = ""


def describe(
    profile: Profile,
    *,
    provider_settings: Mapping[str, object],
    network: str,
    scripts: Sequence[ScriptName],
    bootstrap_keys: Sequence[str],
    cluster_id: str = "",
) -> str:
    """Return the description of a cluster as JSON; see `Description`."""
    return encode(
        Description(
            version=__version__,
            profile=replace(profile, source="", scripts=()),
            provider_settings={
                name: value for name, value in provider_settings.items() if name not in OWN_TO_A_MACHINE
            },
            network=network,
            scripts=tuple(scripts),
            bootstrap_keys=tuple(bootstrap_keys),
            cluster_id=cluster_id,
        )
    )


def read_description(text: str, *, stack: str) -> Description:
    """Return the description that a stack holds.

    Raises:
        UsageError: there is none, or it makes no sense to this version.

    """
    hint = "only a stack that cm has made can be imported"
    if not text:
        raise UsageError(f"stack {stack} does not say which cluster it is", hint=hint)
    try:
        return decode(Description, text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"what stack {stack} says of its cluster makes no sense: {error}", hint=hint) from error
