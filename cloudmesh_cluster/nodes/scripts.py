"""How a script runs on a node: its environment, and the one command line that carries it there."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence

from cloudmesh_cluster.core.model import Cluster, Node
from cloudmesh_cluster.core.resources import resource


def environment(cluster: Cluster, node: Node) -> dict[str, str]:
    """Return the variables that every script, plugin and check sees on a node; lists are separated by spaces."""
    return {
        "CM_CLUSTER": cluster.name,
        "CM_ROLE": node.role,
        "CM_NODE": node.name,
        "CM_INDEX": str(node.index),
        "CM_MASTER": cluster.master.name,
        "CM_MASTER_IP": cluster.master.private_ip,
        "CM_WORKERS": " ".join(worker.name for worker in cluster.workers),
        "CM_NODES": " ".join(each.name for each in cluster.nodes),
    }


def with_environment(variables: dict[str, str], words: list[str]) -> str:
    """Return a shell line that runs `words` with `variables` set."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    return shlex.join(["env", *settings, *words])


def script_command(cluster: Cluster, node: Node, name: str) -> str:
    """Return the shell line, for root, that stores the script given on standard input and runs it."""
    runner = resource("scripts", "boot", "run-script").read_text()
    return with_environment(environment(cluster, node), ["bash", "-c", runner, "run-script", name])


def plugin_command(cluster: Cluster, node: Node, plugin: str, words: list[str], **extra: str) -> str:
    """Return the shell line, for root, that runs a role script of a plugin with a verb.

    Args:
        cluster: for the environment.
        node: where it will run.
        plugin: its name.
        words: the script's file name and its arguments, such as `["master.sh", "install"]`.
        extra: further variables, such as `CM_LEAVING`.

    """
    path = f"/usr/local/lib/cm/plugins/{plugin}/{words[0]}"
    return with_environment(environment(cluster, node) | extra, [path, *words[1:]])


def packages_command(packages: Sequence[str], *, archive: bool = False) -> str:
    """Return the shell line, for root, that installs the Debian packages which a node lacks.

    Args:
        packages: their names.
        archive: whether they come from an archive on standard input instead of the node's mirror.

    """
    installer = resource("scripts", "boot", "install-packages").read_text()
    return shlex.join(["bash", "-c", installer, "install-packages", *(["--archive"] if archive else []), *packages])


def volumes_command(volumes: Mapping[str, str]) -> str:
    """Return the shell line, for root, that mounts a node's volumes, given by where each is to be mounted."""
    mounter = resource("scripts", "boot", "mount-volumes").read_text()
    return shlex.join(["bash", "-c", mounter, "mount-volumes", *(word for pair in volumes.items() for word in pair)])


def digest(content: bytes) -> str:
    """Return the SHA-256 of a script, as it is shown and compared."""
    return hashlib.sha256(content).hexdigest()
