"""Neutron's mechanism driver: every port is bound and ACTIVE at once, without agents."""

from __future__ import annotations

from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class PortDriver(api.MechanismDriver):
    """Binds every port on every host."""

    def initialize(self) -> None:
        """Prepare nothing."""

    @property
    def connectivity(self) -> str:
        """What ports get: one link layer."""
        return str(portbindings.CONNECTIVITY_L2)

    def bind_port(self, context: Any) -> None:
        """Bind a port to the first segment offered."""
        segment = context.segments_to_bind[0]
        details = {portbindings.CAP_PORT_FILTER: False}
        context.set_binding(
            segment[api.ID], portbindings.VIF_TYPE_BRIDGE, details, status=constants.PORT_STATUS_ACTIVE
        )
