"""This machine's side of the external network: a bridge with the address of the APIs, closed to everybody else."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from devcloud.errors import DevcloudError
from devcloud.layout import PORTS, PUBLIC_PREFIX, Cloud

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make(cloud: Cloud) -> None:
    """Make the bridge, and close it: nodes reach the APIs of this machine, and other machines reach nothing.

    Raises:
        DevcloudError: the addresses are in use here, or the kernel refuses.

    """
    if not Path("/sys/class/net", cloud.bridge).exists():
        _refuse_collision(cloud)
        # With an address of its own: a bridge's changes as cables come and go, and nodes remember it.
        batch(
            f"link add {cloud.bridge} address 02:dc:00:00:00:{cloud.number + 1:02x} type bridge forward_delay 0",
            f"addr add {cloud.address}/{PUBLIC_PREFIX} dev {cloud.bridge}",
        )
    batch(f"link set {cloud.bridge} up")
    feed(["nft", "-f", "-"], _rules(cloud))


def remove(cloud: Cloud) -> None:
    """Remove the bridge and its rules; what is not there is no error."""
    if Path("/sys/class/net", cloud.bridge).exists() and cloud.address in _addresses(cloud):
        batch(f"link del {cloud.bridge}")
        feed(["nft", "-f", "-"], f"table inet {cloud.table}\ndelete table inet {cloud.table}\n")


def _rules(cloud: Cloud) -> str:
    bridge, table, address = cloud.bridge, cloud.table, cloud.address
    ports = ", ".join(str(port) for port in sorted(PORTS.values()))
    return f"""\
table inet {table}
delete table inet {table}
table inet {table} {{
  chain input {{
    type filter hook input priority -10; policy accept;
    iifname "{bridge}" ct state established,related accept
    iifname "{bridge}" ip protocol icmp accept
    iifname "{bridge}" ip daddr {address} tcp dport {{ {ports} }} accept
    iifname "{bridge}" drop
    iifname != "lo" ip daddr {address} drop
  }}
}}
"""


def _refuse_collision(cloud: Cloud) -> None:
    words = ["ip", "-o", "-4", "route", "show", "root", cloud.public_network]
    if routes := _output(words).strip():
        raise DevcloudError(f"this machine uses addresses of {cloud.public_network} already: {routes.splitlines()[0]}")


def _addresses(cloud: Cloud) -> str:
    return _output(["ip", "-o", "-4", "addr", "show", "dev", cloud.bridge])


def _output(words: Sequence[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, env={"PATH": PATH}, check=False).stdout


def batch(*commands: str, inside: int | None = None) -> None:
    """Run iproute2 commands, in the network namespace of an open descriptor when one is given.

    Raises:
        DevcloudError: one of them failed.

    """
    feed(["ip", "-batch", "-"], "\n".join(commands) + "\n", inside=inside)


def feed(words: Sequence[str], text: str, *, inside: int | None = None, pass_on: Sequence[int] = ()) -> str:
    """Run a program that reads `text`, and return what it prints.

    Args:
        words: the program and its arguments.
        text: its standard input.
        inside: an open descriptor of the network namespace that it runs in; None: this one.
        pass_on: further descriptors that it inherits.

    Raises:
        DevcloudError: it failed.

    """
    entered = [] if inside is None else ["nsenter", f"--net=/proc/self/fd/{inside}", "--"]
    descriptors = [*pass_on] if inside is None else [*pass_on, inside]
    done = subprocess.run(
        [*entered, *words],
        input=text,
        capture_output=True,
        text=True,
        env={"PATH": PATH},
        pass_fds=descriptors,
        check=False,
    )
    if done.returncode:
        raise DevcloudError(f"{words[0]}: {done.stderr.strip()} (asked for: {text.strip()})")
    return done.stdout
