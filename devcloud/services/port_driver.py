"""Neutron's mechanism driver: every port is bound and ACTIVE at once, and routers and floating IPs become wiring."""

from __future__ import annotations

import os
import threading
from typing import Any

from neutron_lib import constants, context
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.plugins import constants as plugin_names
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api
from oslo_log import log

from devcloud.layout import ENGINE
from devcloud.services import host

_LOG = log.getLogger(__name__)
_NOT_CONNECTED: dict[str, Any] = {"external": None, "floating": {}}


class PortDriver(api.MechanismDriver):
    """Binds every port on every host, without agents."""

    def initialize(self) -> None:
        """Follow what happens to routers and floating IPs."""
        self._lock = threading.Lock()
        self._told: dict[str, dict[str, Any]] = {}
        self._wires = os.environ["DEVCLOUD_DRIVER"] == ENGINE
        for resource in (resources.FLOATING_IP, resources.ROUTER_INTERFACE, resources.ROUTER_GATEWAY):
            for event in (events.AFTER_CREATE, events.AFTER_UPDATE, events.AFTER_DELETE):
                registry.subscribe(self._rewire, resource, event)

    @property
    def connectivity(self) -> str:
        """What ports get: one link layer."""
        return str(portbindings.CONNECTIVITY_L2)

    def bind_port(self, context: Any) -> None:
        """Bind a port to the first segment offered."""
        segment = context.segments_to_bind[0]
        details = {portbindings.CAP_PORT_FILTER: False}
        context.set_binding(segment[api.ID], portbindings.VIF_TYPE_BRIDGE, details, status=constants.PORT_STATUS_ACTIVE)

    def _rewire(self, resource: str, event: str, trigger: Any, payload: Any = None) -> None:
        """Tell this machine how networks are connected from now on, those whose connection has changed."""
        with self._lock:
            wanted = _connections() if self._wires else {}
            for network in wanted.keys() | self._told.keys():
                connection = wanted.get(network, _NOT_CONNECTED)
                if connection != self._told.get(network):
                    try:
                        host.ask("wire", network=network, **connection)
                    except host.HostError:
                        # The API's answer is right all the same; the next change tries again.
                        _LOG.exception("network %s can't be connected", network)
                        continue
                    self._told[network] = connection
            self._told = {network: told for network, told in self._told.items() if network in wanted}
        _show_floating_ips()


def _connections() -> dict[str, dict[str, Any]]:
    """Return the router's external address and the floating IPs of every network that has a router."""
    admin = context.get_admin_context()
    core, routing = directory.get_plugin(), directory.get_plugin(plugin_names.L3)
    external: dict[str, str] = {}
    for router in routing.get_routers(admin):
        addresses = (router.get("external_gateway_info") or {}).get("external_fixed_ips") or []
        if addresses:
            external[router["id"]] = addresses[0]["ip_address"]
    found: dict[str, dict[str, Any]] = {}
    for port in core.get_ports(admin, filters={"device_owner": [constants.DEVICE_OWNER_ROUTER_INTF]}):
        if port["device_id"] in external:
            found[port["network_id"]] = {"external": external[port["device_id"]], "floating": {}}
    rows = [row for row in routing.get_floatingips(admin) if row["port_id"]]
    ports = core.get_ports(admin, filters={"id": [row["port_id"] for row in rows]}) if rows else []
    networks = {port["id"]: port["network_id"] for port in ports}
    for row in rows:
        connection = found.get(networks.get(row["port_id"], ""))
        if connection is not None:
            connection["floating"][row["floating_ip_address"]] = row["fixed_ip_address"]
    return found


def _show_floating_ips() -> None:
    """Give every floating IP the status that an agent would report."""
    admin, routing = context.get_admin_context(), directory.get_plugin(plugin_names.L3)
    for row in routing.get_floatingips(admin):
        status = constants.FLOATINGIP_STATUS_ACTIVE if row["port_id"] else constants.FLOATINGIP_STATUS_DOWN
        if row["status"] != status:
            routing.update_floatingip_status(admin, row["id"], status)
