"""The names of resources, parameters and outputs in the template of a cluster's stack."""

from __future__ import annotations

DESCRIPTION = "cm_cluster"
"""The output of the stack that says what it is."""
HOST_KEYS = "host_keys_"
OWN_RESOURCES = (
    *("keypair", "network", "subnet", "router", "router_interface", "security_group", "login_security_group"),
    "server_group",
)
OWN_PARAMETERS = ("login_public_key", "bootstrap_private_key", "user_data", "last_user_data")


def is_signal(name: str) -> bool:
    """Return whether a resource tells Heat that the nodes of one operation are up."""
    return name.startswith(("handle_", "nodes_up_"))


def is_own(name: str) -> bool:
    """Return whether a name is one that the template of some cluster has for a resource, parameter or output."""
    known = (*OWN_RESOURCES, *OWN_PARAMETERS, DESCRIPTION)
    return name in known or is_signal(name) or index_of(name) is not None


def index_of(name: str) -> int | None:
    """Return which server a resource belongs to: `port_3`, `volume_3_1_attachment`."""
    kinds = ("port_", "floating_ip_", "server_", "volume_", HOST_KEYS)
    kind = next((kind for kind in kinds if name.startswith(kind)), None)
    if kind is None:
        return None
    number = name.removeprefix(kind).split("_")[0]
    return int(number) if number.isdecimal() else None
