"""One session with a cloud, and the three clients that share it."""

from __future__ import annotations

import socket
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from cloudmesh_cluster.errors import ProviderError, UsageError

COMPUTE_VERSION = "2.79"
"""Tags, user_data at rebuild (2.57) and more; every cloud since Train has it."""

RETRIED = [429, 500, 502, 503, 504]


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
        import openstack
        from openstack.exceptions import ConfigException

        try:
            return openstack.connect(cloud=self.name, app_name="cm", status_code_retries=4, connect_retries=3)
        except ConfigException as error:
            raise UsageError(
                f"no credentials for OpenStack: {error}", hint="OS_CLOUD, or os_cloud in providers.yaml"
            ) from error

    @cached_property
    def session(self) -> Any:
        """The keystoneauth session that all clients share; it renews its token by itself.

        Raises:
            UsageError: the cloud does not accept the credentials.

        """
        from keystoneauth1 import exceptions

        try:
            self.sdk.session.get_token()
        except (exceptions.HttpError, exceptions.MissingRequiredOptions, exceptions.NoMatchingPlugin) as error:
            raise UsageError(
                f"the cloud refuses the credentials: {error}", hint=f"openstack {self._option} token issue"
            ) from error
        except exceptions.ConnectFailure as error:
            raise ProviderError(f"the cloud can't be reached: {error}") from error
        return self.sdk.session

    @property
    def _option(self) -> str:
        return f"--os-cloud {self.name}" if self.name else ""

    @cached_property
    def heat(self) -> Any:
        """The client for stacks."""
        from heatclient.client import Client

        return Client(
            "1", session=self.session, region_name=self.sdk.config.get_region_name(), connect_retries=3,
            status_code_retries=4, retriable_status_codes=RETRIED,
        )  # fmt: skip

    @cached_property
    def nova(self) -> Any:
        """The client for consoles, start and stop."""
        from novaclient.client import Client

        return Client(
            COMPUTE_VERSION, session=self.session, region_name=self.sdk.config.get_region_name(), connect_retries=3,
            status_code_retries=4,
        )  # fmt: skip

    def servers(self, cluster: str) -> list[Any]:
        """Return the servers of a cluster, by one call."""
        found = self.nova.servers.list(search_opts={"name": f"^{cluster}-"})
        return [each for each in found if each.metadata.get("cm_cluster") == cluster and each.status != "DELETED"]

    def own_address(self) -> str:
        """Return this machine's address on the way to the cloud, as CIDR."""
        url = urlsplit(str(self.sdk.config.config["auth"]["auth_url"]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((url.hostname, url.port or 443))
            return f"{probe.getsockname()[0]}/32"
