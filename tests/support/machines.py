"""Machines that exist: nodes of the engine with sshd and a user with sudo, and nothing of `cm` on them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloudmesh_cluster.nodes.hosts import parse_console_host_keys
from cloudmesh_cluster.providers.local.engine import dial
from tests.support.command_line import CommandLine
from tests.support.engine_nodes import Nodes, address, nodes

USER = "admin"
LISTING = r"""
cd / && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \) -prune -o \
    -printf '%p %y %m %U:%G %l\n' -type f -exec sha256sum {} + | sort
"""
MAY_DIFFER = (
    r"\./var/log/.*",  # logs
    r"\./var/tmp|\./var/tmp/.*",
    r"\./var/lib/sudo/.*",  # sudo's stamps
    r"\./var/lib/apt/.*|\./var/cache/apt/.*|\./var/lib/dpkg/.*|\./var/cache/debconf/.*",  # the package manager's
    r"\./var/cache/ldconfig/.*|\./etc/ld\.so\.cache",
    r"\./etc/(passwd|shadow|group|gshadow|subuid|subgid)-",  # backups of the account files
)
"""What may differ on a machine that was given back, as regular expressions over whole paths. Times are not compared."""


@dataclass(frozen=True)
class Machines:
    """Some machines that run, and how the user of `cm` reaches them.

    Args:
        nodes: the engine that they run in.
        indices: which of them run.
        key: the user's private key.

    """

    nodes: Nodes
    indices: tuple[int, ...]
    key: Path

    @property
    def known_hosts(self) -> Path:
        """The user's known hosts."""
        return self.nodes.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """The user's SSH configuration: the machines are behind a ProxyCommand."""
        return self.nodes.folder / "ssh_config"

    def introduce(self, indices: Sequence[int] | None = None, *, also: str = "") -> None:
        """Make the machines known to the user: how to reach them, by address or name, and the host keys of some or all.

        Args:
            indices: whose host keys are known; None for all.
            also: stands first in the SSH configuration.

        """
        words = dial.proxy_command(self.nodes.folder / "engine", "%h")
        program = shlex.join([*words[:-1], "%p"])
        prefix = self.nodes.prefix
        names = "".join(f"Host {prefix}{i}\n    HostName {address(i)}\n    User {USER}\n" for i in self.indices)
        self.ssh_config.write_text(
            f"{also}{names}Host 10.88.* {prefix}*\n"
            f"    ProxyCommand {program}\n    ProxyUseFdpass yes\n    IdentityFile {self.key}\n"
            f"    UserKnownHostsFile {self.known_hosts}\n    GlobalKnownHostsFile /dev/null\n"
        )
        lines = [
            f"{address(index)} {key}\n"
            for index in (self.indices if indices is None else indices)
            for key in parse_console_host_keys(self.nodes.console(index))
        ]
        self.known_hosts.write_text("".join(lines))

    def write_provider(self, cm: CommandLine) -> None:
        """Write the runbook's providers.yaml, with the one line that says where the SSH configuration is."""
        file = cm.home / "providers.yaml"
        file.touch(mode=0o600)
        file.write_text(
            f"bare_metal:\n  cloud_provider: none\n  private_key: {self.key}\n  ssh_config: {self.ssh_config}\n"
        )

    def write_profile(self, cm: CommandLine, name: str, *, also: str = "", machines: Sequence[int | str] = ()) -> None:
        """Write the runbook's profile, the head first; a machine is its index, or what is to be written."""
        chosen = machines or self.indices
        head, *compute = [each if isinstance(each, str) else address(each) for each in chosen]
        folder = cm.home / "profiles.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\nprovider: bare_metal\nnum_nodes: {len(compute) + 1}\nnode_id: bare\nnode_type: bare\n"
            f"user: {USER}\nmachines:\n  head:\n    - {head}\n  compute:\n"
            + "".join(f"    - {each}\n" for each in compute)
            + also
        )

    def listing(self, index: int) -> Mapping[str, str]:
        """Return what lies on a machine's disk: kind, mode, owner, target of a link or digest, by path."""
        found: dict[str, str] = {}
        for line in self.nodes.run(index, f"sudo sh -c {shlex.quote(LISTING)}").splitlines():
            if line.startswith(("./", ". ")):
                path, _, rest = line.partition(" ")
                found[path] = rest + found.get(path, "")
            else:
                digest, _, path = line.partition("  ")
                found[path] = found.get(path, "") + digest
        return found


@contextmanager
def machines(
    folder: Path, images: Path, layers: tuple[Path, ...], indices: Sequence[int], *, prefix: str = "n"
) -> Iterator[Machines]:
    """Yield machines that have booted; whatever happens, nothing of them is left afterwards."""
    with nodes(folder, images, layers, USER, prefix=prefix) as made:
        made.boot(list(indices), script='echo "127.0.1.1 $(hostname)" >>/etc/hosts')
        yield Machines(made, tuple(indices), made.folder / "key")
