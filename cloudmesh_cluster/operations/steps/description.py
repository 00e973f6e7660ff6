"""What a stack says of its cluster, so that another machine can go on with it: everything but secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cloudmesh_cluster.core.codec import decode, encode
from cloudmesh_cluster.core.errors import InvalidInput, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Additions, PluginUse, Profile
from cloudmesh_cluster.core.version import __version__
from cloudmesh_cluster.operations.steps.foreign import checked_profile, fit_for_elsewhere, problems_of_rest
from cloudmesh_cluster.providers.openstack.settings import Settings

OWN_TO_A_MACHINE = ("os_cloud",)
"""Settings that mean something else on another machine, or nothing."""
_NONSENSE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_HINT = "only a stack that cm has made can be imported"


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
        left_out: plugins' settings that another machine can't use, or must not believe: `PLUGIN.SETTING`.

    """

    version: str
    profile: Profile
    provider_settings: dict[str, object]
    network: str
    scripts: tuple[ScriptName, ...] = ()
    bootstrap_keys: tuple[str, ...] = ()
    cluster_id: str = ""
    left_out: tuple[str, ...] = ()


def describe(
    profile: Profile,
    *,
    provider_settings: Mapping[str, object],
    network: str,
    scripts: Sequence[ScriptName],
    bootstrap_keys: Sequence[str],
    cluster_id: str = "",
    home: Home,
) -> str:
    """Return the description of a cluster as JSON; see `Description`."""
    plugins, left_out = _fit(profile.plugins, home)
    return encode(
        Description(
            version=__version__,
            profile=replace(profile, source="", scripts=(), plugins=plugins, template=_from(profile.template, "")),
            provider_settings=_shared(provider_settings),
            network=network,
            scripts=tuple(scripts),
            bootstrap_keys=tuple(bootstrap_keys),
            cluster_id=cluster_id,
            left_out=left_out,
        )
    )


def read_description(text: str, *, stack: str, home: Home) -> Description:
    """Return the description that a stack holds; whoever may write to the stack is not believed.

    Everything goes through the schemas that files go through. Plugins' settings that name files of this machine are
    left out.

    Args:
        text: the description.
        stack: its name, for messages.
        home: whose plugins say which settings name files.

    Raises:
        UsageError: there is none, or it makes no sense to this version.

    """
    if not text:
        raise UsageError(f"stack {stack} does not say which cluster it is", hint=_HINT)
    try:
        found = decode(Description, text)
        profile, problems = checked_profile(found.profile, stack=stack)
        problems += problems_of_rest(found.network, found.scripts, found.bootstrap_keys, found.cluster_id, stack=stack)
        Settings.of(found.provider_settings)
        plugins, left_out = _fit(profile.plugins, home)
    except (UsageError, *_NONSENSE) as error:
        raise UsageError(f"what stack {stack} says of its cluster makes no sense: {error}", hint=_HINT) from error
    if problems:
        raise InvalidInput(problems, hint=_HINT)
    return replace(
        found,
        profile=replace(profile, plugins=plugins),
        provider_settings=_shared(found.provider_settings),
        left_out=tuple(dict.fromkeys((*map(str, found.left_out), *left_out))),
    )


def _shared(settings: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in settings.items() if name not in OWN_TO_A_MACHINE}


def _from(template: Additions | None, source: str) -> Additions | None:
    return replace(template, source=source) if template else None


def _fit(uses: Sequence[PluginUse], home: Home) -> tuple[tuple[PluginUse, ...], tuple[str, ...]]:
    fit = [fit_for_elsewhere(use, home) for use in uses]
    return tuple(use for use, _ in fit), tuple(name for _, names in fit for name in names)
