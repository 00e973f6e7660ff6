"""One session with a cloud, and the three clients that share it."""

from __future__ import annotations

import logging
import socket
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from cloudmesh_cluster.core.errors import ProviderError, UsageError
from cloudmesh_cluster.core.marks import Marks, in_metadata
from cloudmesh_cluster.core.model import CloudProject
from cloudmesh_cluster.providers.openstack.explained import said

COMPUTE_VERSION = "2.79"
"""Tags, user_data at rebuild (2.57) and more; every cloud since Train has it."""


class Cloud:
    """A project of a cloud, as `clouds.yaml` or the environment names it; connected when first needed.

    Args:
        name: the entry of `clouds.yaml`; None for `OS_CLOUD` and `OS_*`.

    """

    def __init__(self, name: str | None) -> None:
        self.name = name

    @cached_property
    def sdk(self) -> Any:
        """The connection of openstacksdk.

        Raises:
            UsageError: there is no such entry, or no credentials at all.

        """
        from openstack.config import OpenStackConfig
        from openstack.connection import Connection
        from openstack.exceptions import ConfigException

        from cloudmesh_cluster.providers.openstack.patience import PatientSession

        try:
            # Every retry would be told on standard error.
            logging.getLogger("keystoneauth").setLevel(logging.ERROR)
            # Read as openstack.connect() does, but for the session.
            config = OpenStackConfig(app_name="cm", session_constructor=PatientSession)
            return Connection(config=config.get_one(cloud=self.name))
        except ConfigException as error:
            raise UsageError(
                f"no credentials for OpenStack: {error}", hint="OS_CLOUD, or os_cloud in providers.yaml"
            ) from error

    @cached_property
    def session(self) -> Any:
        """The keystoneauth session that all clients share; it renews its token by itself.

        Raises:
            UsageError: the cloud does not accept the credentials.
            ProviderError: it does not answer.

        """
        from keystoneauth1 import exceptions

        hint = f"openstack {self._option}token issue"
        try:
            self.sdk.session.get_token()
        except (exceptions.Unauthorized, exceptions.Forbidden, exceptions.NotFound, exceptions.BadRequest) as error:
            raise UsageError(f"the cloud refuses the credentials: {said(error)}", hint=hint) from error
        except (exceptions.MissingRequiredOptions, exceptions.NoMatchingPlugin) as error:
            raise UsageError(f"the credentials are not complete: {error}", hint=hint) from error
        except (exceptions.ConnectFailure, exceptions.DiscoveryFailure) as error:
            raise ProviderError(f"the cloud can't be reached: {said(error)}", hint=hint) from error
        return self.sdk.session

    @property
    def _option(self) -> str:
        return f"--os-cloud {self.name} " if self.name else ""

    @cached_property
    def heat(self) -> Any:
        """The client for stacks."""
        from heatclient.client import Client

        return Client("1", session=self.session, **self._where("orchestration"))

    @cached_property
    def nova(self) -> Any:
        """The client for consoles, start and stop."""
        from novaclient.client import Client

        where = self._where("compute")
        return Client(COMPUTE_VERSION, session=self.session, endpoint_type=where.pop("interface"), **where)

    def _where(self, service: str) -> dict[str, Any]:
        """Return what clouds.yaml says about where a service is."""
        config = self.sdk.config
        return {
            "region_name": config.get_region_name(service),
            "interface": config.get_interface(service),
            "endpoint_override": config.get_endpoint(service),
        }

    def has(self, service: str) -> bool:
        """Return whether the cloud has a service, by its type ("orchestration"...)."""
        where = self._where(service)
        if where.pop("endpoint_override"):
            return True
        return bool(self.session.get_endpoint(service_type=service, **where))

    @cached_property
    def project(self) -> CloudProject:
        """The project that the credentials are for."""
        access, config = self.session.auth.get_access(self.session), self.sdk.config
        return CloudProject(
            auth_url=str(config.config["auth"]["auth_url"]),
            region=str(config.get_region_name("orchestration") or ""),
            id=str(access.project_id or ""),
            name=str(access.project_name or ""),
            user_id=str(access.user_id or ""),
        )

    @property
    def changed(self) -> bool:
        """Whether a request of this program may have changed something in the cloud."""
        return "sdk" in vars(self) and bool(self.sdk.session.changed)

    @property
    def own(self) -> dict[str, str]:
        """What to ask Neutron for: an administrator is shown all projects otherwise."""
        return {"project_id": self.sdk.current_project_id}

    def servers(self, marks: Marks) -> list[Any]:
        """Return the servers of a cluster; Nova gives them in pages."""
        found = self.nova.servers.list(search_opts={"name": f"^{marks.cluster}-"}, limit=-1)
        return [each for each in found if in_metadata(each.metadata) == marks and each.status != "DELETED"]

    def volumes(self) -> list[Any]:
        """Return the volumes of the project; none where the cloud has no such service."""
        return list(self.sdk.block_storage.volumes()) if self.has("block-storage") else []

    def own_address(self) -> str:
        """Return this machine's address on the way to the cloud, as CIDR."""
        url = urlsplit(str(self.sdk.config.config["auth"]["auth_url"]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((url.hostname, url.port or 443))
            return f"{probe.getsockname()[0]}/32"
