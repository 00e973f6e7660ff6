"""Where nodes come from. Nothing is imported here: a provider is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudmesh_cluster.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudmesh_cluster.core.home import Home
    from cloudmesh_cluster.providers.base import Provider

TYPES = ("local", "openstack", "baremetal")


def provider_of(home: Home, provider_type: str, settings: Mapping[str, object]) -> Provider:
    """Return the provider of a type with its settings of `providers.yaml`.

    Raises:
        NotFound: there is no such type.

    """
    if provider_type == "local":
        from cloudmesh_cluster.providers.local.provider import LocalProvider

        return LocalProvider(home, settings)
    if provider_type == "openstack":
        from cloudmesh_cluster.providers.openstack.provider import OpenStackProvider

        return OpenStackProvider(home, settings)
    if provider_type == "baremetal":
        from cloudmesh_cluster.providers.baremetal.provider import BareMetalProvider

        return BareMetalProvider(home, settings)
    raise NotFound("provider", provider_type, TYPES)
