"""Nodes made by the node engine alone, without `cm`: booted, logged in to, counted."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cloudmesh_cluster.nodes.hosts import parse_console_host_keys
from cloudmesh_cluster.providers.local.engine import dial
from cloudmesh_cluster.providers.local.engine.engine import Engine, NodeSpec

GATEWAY = "10.88.0.1/16"
PATIENCE = 90.0


@dataclass(frozen=True)
class Nodes:
    """An engine of its own, with what is needed to make nodes in it and to log in to them.

    Args:
        folder: the engine's folder lies in it, beside the login key.
        images: the folder of the layers.
        layers: the root file system of the nodes.
        user: the login user of the nodes.
        prefix: their names, to which the index is added.

    """

    folder: Path
    images: Path
    layers: tuple[Path, ...]
    user: str = "cm"
    prefix: str = "n"

    @property
    def engine(self) -> Engine:
        """The engine, as any process sees it."""
        return Engine(self.folder / "engine", self.images)

    def specify(self, index: int, *, script: str = "true", name: str = "") -> NodeSpec:
        """Return the node of an index, whose user_data makes the user and then runs a script once."""
        hostname = f"{self.prefix}{index}"
        key = self.folder / "key"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        user = {"name": self.user, "shell": "/bin/bash", "sudo": "ALL=(ALL) NOPASSWD:ALL"}
        user_data = {
            "users": [{**user, "ssh_authorized_keys": [key.with_suffix(".pub").read_text()]}],
            "runcmd": [["sh", "-c", script]],
        }
        meta_data = {"uuid": str(uuid.uuid4()), "name": hostname, "hostname": hostname}
        drive = self.folder / f"drive-{index}"
        latest = drive / "openstack" / "latest"
        latest.mkdir(parents=True, exist_ok=True)
        (latest / "user_data").write_text("#cloud-config\n" + json.dumps(user_data))
        (latest / "meta_data.json").write_text(json.dumps(meta_data))
        return NodeSpec(name=name or hostname, address=f"{address(index)}/16", layers=self.layers, drive=drive)

    def boot(self, indices: Sequence[int], *, script: str = "true", **limits: float) -> list[str]:
        """Start new nodes, wait until cloud-init has ended on all of them, and return the engine's warnings."""
        self.engine.open(GATEWAY)
        specs = [replace(self.specify(index, script=script), **limits) for index in indices]  # type: ignore[arg-type]
        warnings = self.engine.start(specs)
        self.wait(indices)
        return warnings

    def wait(self, indices: Sequence[int], *, boots: int = 1) -> None:
        """Wait until cloud-init has ended on all nodes, for the given time in their lives."""
        deadline = time.monotonic() + PATIENCE
        for index in indices:
            while self.console(index).count(" finished at ") < boots:
                assert time.monotonic() < deadline, self.console(index)
                time.sleep(0.05)

    def console(self, index: int) -> str:
        """Return what a node has written to its console."""
        return self.engine.console(f"{self.prefix}{index}")

    def run(self, index: int, command: str, *, stdin: bytes = b"") -> str:
        """Return what a shell line prints on a node, whose host key is known from its console."""
        done = self.ssh(index, command, stdin=stdin)
        assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def ssh(self, index: int, command: str, *, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run a shell line on a node through the system's own ssh."""
        known = self.folder / f"known-{index}"
        keys = parse_console_host_keys(self.console(index))
        known.write_text("".join(f"{address(index)} {key}\n" for key in keys))
        proxy = shlex.join(dial.proxy_command(self.folder / "engine", address(index)))
        options = {
            "ProxyCommand": proxy,
            "ProxyUseFdpass": "yes",
            "UserKnownHostsFile": str(known),
            "StrictHostKeyChecking": "yes",
            "IdentityFile": str(self.folder / "key"),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return subprocess.run(
            ["ssh", "-F", "none", *words, f"{self.user}@{address(index)}", command],
            input=stdin.decode(),
            capture_output=True,
            text=True,
            check=False,
        )


def address(index: int) -> str:
    """Return the address of a node, without prefix."""
    return f"10.88.1.{index}"


@contextmanager
def nodes(
    folder: Path, images: Path, layers: tuple[Path, ...], user: str = "cm", *, prefix: str = "n"
) -> Iterator[Nodes]:
    """Yield an engine of its own; whatever happens, nothing of it is left afterwards."""
    made = Nodes(folder, images, layers, user, prefix)
    try:
        yield made
    finally:
        made.engine.cleanup()
