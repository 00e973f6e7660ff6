"""The nodes' way out, which does not lead to this machine: slirp4netns, and masquerading between two interfaces."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

from cloudmesh_cluster.providers.local.engine.own_addresses import OwnAddresses
from cloudmesh_cluster.providers.local.engine.userns import PATH

TAP = "tap0"
BRIDGE = "br0"
MTU = 65520
"""Packets never leave this machine as such, and large ones reach the internet twice as fast."""
_CANDIDATES = ("10.0.2.0/24", "192.168.127.0/24", "172.31.254.0/24")

_RULES = f"""\
table ip nodes {{
  set this_machine {{ type ipv4_addr; }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    iifname "{BRIDGE}" oifname "{BRIDGE}" accept
    CLOSED
    iifname "{BRIDGE}" oifname "{TAP}" accept
    iifname "{TAP}" oifname "{BRIDGE}" ct state established,related accept
  }}
  chain postrouting {{
    type nat hook postrouting priority 100;
    oifname "{TAP}" masquerade
  }}
}}
"""


_CLOSED = f"""\
oifname "{TAP}" ip daddr 169.254.0.0/16 reject
    oifname "{TAP}" ip daddr @this_machine reject"""
"""Packets to this machine would reach its services as if it had sent them itself; on a virtual machine, those to
169.254.169.254 are answered with the credentials that its cloud has given it."""


def why_no_egress() -> str | None:
    """Return what keeps nodes of this user from the internet, or None when nothing does."""
    for program, package in (("slirp4netns", "slirp4netns"), ("nft", "nftables")):
        if shutil.which(program, path=PATH) is None:
            return f"{program} is missing (apt-get install {package})"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/net/tun can't be opened ({error.strerror}); as root: modprobe tun; chmod 666 /dev/net/tun"
    return None


def free_network(network: str) -> ipaddress.IPv4Network:
    """Return a network for the tap that doesn't overlap the nodes' own (an address with its prefix)."""
    nodes = ipaddress.IPv4Interface(network).network
    candidates = map(ipaddress.IPv4Network, _CANDIDATES)
    return next(candidate for candidate in candidates if not candidate.overlaps(nodes))


class WayOut:
    """The way out of one network of nodes: made before its namespace is entered, opened from within.

    Args:
        gateway: the address with prefix of the nodes' bridge.
        wanted: whether there is to be one at all.
        host_access: whether it leads to this machine's own addresses and to 169.254.0.0/16, too.

    """

    def __init__(self, gateway: str, *, wanted: bool, host_access: bool) -> None:
        self._host_access = host_access
        self._addresses: list[str] = []
        self.watch = OwnAddresses()
        """Becomes readable when `refresh` is wanted."""
        self.reason = why_no_egress() if wanted else "it was not asked for"
        self._tap = free_network(gateway)
        # slirp4netns ends when the last copy of this end is closed, that is, with the holder.
        self._closed_at_end, self._alive = os.pipe()
        self._ready, self._is_ready = os.pipe()

    @property
    def nameserver(self) -> str | None:
        """The address at which slirp4netns forwards DNS to this machine's own resolver."""
        return None if self.reason else str(self._tap[3])

    def stay_behind(self, pid: int) -> None:
        """Become the slirp4netns of the network namespace of process `pid`, in this machine's own namespaces."""
        if self.reason is not None:
            return
        for descriptor in (self._closed_at_end, self._is_ready):
            os.set_inheritable(descriptor, True)
        words = ["slirp4netns", "--configure", f"--mtu={MTU}", "--disable-host-loopback", f"--cidr={self._tap}"]
        words += ["--enable-sandbox", "--enable-seccomp"]
        words += [f"--exit-fd={self._closed_at_end}", f"--ready-fd={self._is_ready}"]
        os.execvp(words[0], [*words, str(pid), TAP])

    def open(self) -> None:
        """Wait for slirp4netns and let the nodes' packets, and only those, through it."""
        os.close(self._is_ready)
        if self.reason is None:
            if os.read(self._ready, 1):
                self.reason = _let_through(host_access=self._host_access) or self.refresh()
            else:
                self.reason = "slirp4netns ended at once, see engine.log"
        os.close(self._ready)
        os.close(self._closed_at_end)

    def refresh(self) -> str | None:
        """Close the way to the addresses that this machine has now; return (and log) why that failed, if it did."""
        addresses = self.watch.now()
        if addresses == self._addresses or self.reason is not None:
            return None
        commands = ["flush set ip nodes this_machine"]
        commands += [f"add element ip nodes this_machine {{ {', '.join(addresses)} }}"] if addresses else []
        if (failed := _nft(commands)) is None:
            self._addresses = addresses
        else:
            print(failed, file=sys.stderr, flush=True)
        return failed


def _let_through(*, host_access: bool) -> str | None:
    if failed := _nft([_RULES.replace("CLOSED", "" if host_access else _CLOSED)]):
        return failed
    for interface in (BRIDGE, TAP):
        with open(f"/proc/sys/net/ipv4/conf/{interface}/forwarding", "w", encoding="utf-8") as setting:
            setting.write("1")
    return None


def _nft(commands: Iterable[str]) -> str | None:
    done = subprocess.run(["nft", "-f", "-"], input="\n".join(commands), capture_output=True, text=True, check=False)
    return f"nft failed: {done.stderr.strip()}" if done.returncode else None
