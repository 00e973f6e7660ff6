"""A Neutron network's way to the external network: what a router with its gateway and floating IPs does.

The nodes of a network live in a network namespace that a holder process of the node engine keeps, behind the bridge
`br0`. A virtual cable `cloud0` leads from there to this machine's bridge; its end in the namespace has the router's
external address and all floating IPs, which are translated to and from the nodes' own addresses.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cloudmesh_cluster.providers.local.engine import dial
from cloudmesh_cluster.providers.local.engine.egress import BRIDGE as INNER_BRIDGE
from cloudmesh_cluster.providers.local.engine.egress import TAP
from devcloud import network
from devcloud.layout import PUBLIC_PREFIX, Cloud

CABLE = "cloud0"
_MTU = "65520"
_GET_NETWORK_NAMESPACE = 0x894C  # SIOCGSKNS: of a socket


@dataclass(frozen=True)
class Wiring:
    """How a network is connected.

    Args:
        external: the router's address on the external network; None: there is no router, or it has no gateway.
        floating: fixed addresses by floating IP.

    """

    external: str | None = None
    floating: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Wiring:
        """Return what a file says; a missing one says: not at all."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()

    def write(self, file: Path) -> None:
        """Write a file that `read` reads."""
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        temporary.rename(file)

    @property
    def addresses(self) -> set[str]:
        """What the cable's inner end answers for, with prefixes."""
        own = {f"{self.external}/{PUBLIC_PREFIX}"} if self.external else set()
        return own | ({f"{address}/32" for address in self.floating} if self.external else set())


def apply(wiring: Wiring, cloud: Cloud, engine: Path, cable: str) -> None:
    """Make a running engine's network connected as `wiring` says, whatever it was before.

    Args:
        wiring: how it has to be.
        cloud: whose external network it leads to.
        engine: the engine's folder; its holder runs.
        cable: the name of the cable's end on this machine.

    Raises:
        DevcloudError: the kernel refuses.

    """
    inside = namespace_of(engine)
    try:
        if not _has_cable(inside):
            _lay_cable(inside, cable, cloud.bridge)
        _set_addresses(inside, wiring)
        network.feed(["nft", "-f", "-"], rules(wiring), inside=inside)
    finally:
        os.close(inside)
    # Another network may have had the address a moment ago.
    for address in wiring.floating:
        network.batch(f"neigh flush to {address} dev {cloud.bridge}")


def namespace_of(engine: Path) -> int:
    """Return an open descriptor of the network namespace of a running engine."""
    with dial.inner_socket(engine) as inner:
        return fcntl.ioctl(inner.fileno(), _GET_NETWORK_NAMESPACE)


def _has_cable(inside: int) -> bool:
    links = json.loads(network.feed(["ip", "-j", "link", "show"], "", inside=inside))
    return any(link["ifname"] == CABLE for link in links)


def _lay_cable(inside: int, cable: str, bridge: str) -> None:
    here = f"ip link add {cable} mtu {_MTU} type veth"
    there = f"peer name {CABLE} mtu {_MTU} netns /proc/self/fd/{inside}"
    network.feed([*here.split(), *there.split()], "", pass_on=[inside])
    network.batch(f"link set {cable} master {bridge} up")
    network.batch(f"link set {CABLE} up", inside=inside)
    forwarding = [f"/proc/sys/net/ipv4/conf/{name}/forwarding" for name in (CABLE, INNER_BRIDGE)]
    network.feed(["tee", *forwarding], "1", inside=inside)
    network.feed(["nft", "-f", "-"], _PASSAGE, inside=inside)


# The engine's own chain drops what it doesn't know; it isn't there where nodes have no way out.
_PASSAGE = f"""\
add table ip nodes
add chain ip nodes forward {{ type filter hook forward priority 0; policy drop; }}
insert rule ip nodes forward iifname "{INNER_BRIDGE}" oifname "{CABLE}" accept
insert rule ip nodes forward iifname "{CABLE}" oifname "{INNER_BRIDGE}" ct status dnat accept
insert rule ip nodes forward iifname "{CABLE}" oifname "{INNER_BRIDGE}" ct state established,related accept
"""


def _set_addresses(inside: int, wiring: Wiring) -> None:
    shown = json.loads(network.feed(["ip", "-j", "-4", "addr", "show", "dev", CABLE], "", inside=inside))
    rows = [row for link in shown for row in link.get("addr_info", [])]
    known = {f"{row['local']}/{row['prefixlen']}" for row in rows}
    commands = [f"addr del {address} dev {CABLE}" for address in sorted(known - wiring.addresses)]
    commands += [f"addr add {address} dev {CABLE}" for address in sorted(wiring.addresses - known)]
    if commands:
        network.batch(*commands, inside=inside)


def rules(wiring: Wiring) -> str:
    """Return the translation of addresses, as nftables reads it."""
    floating = wiring.floating if wiring.external else {}
    to_nodes = [f"ip daddr {public} dnat to {fixed}" for public, fixed in sorted(floating.items())]
    from_nodes = [f'oifname "{CABLE}" ip saddr {fixed} snat to {public}' for public, fixed in sorted(floating.items())]
    if wiring.external:
        from_nodes.append(f'oifname "{CABLE}" snat to {wiring.external}')
        # A node that calls a floating IP of its own network must see the answer come from there.
        from_nodes.append(f'iifname "{INNER_BRIDGE}" oifname "{INNER_BRIDGE}" ct status dnat masquerade')
        closed = []
    else:
        closed = [f'iifname "{INNER_BRIDGE}" oifname {{ "{TAP}", "{CABLE}" }} drop']
    chains = (
        ("prerouting", "type nat hook prerouting priority -100", to_nodes),
        ("postrouting", "type nat hook postrouting priority 90", from_nodes),
        ("forward", "type filter hook forward priority -5", closed),
    )
    text = "\n".join(
        f"  chain {name} {{\n    {kind}; policy accept;\n    " + "\n    ".join(lines) + "\n  }"
        for name, kind, lines in chains
    )
    return f"table ip cloud\ndelete table ip cloud\ntable ip cloud {{\n{text}\n}}\n"
