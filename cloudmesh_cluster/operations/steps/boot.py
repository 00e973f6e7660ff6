"""What nodes are booted with: their user_data, and the keys that open them."""

from __future__ import annotations

from collections.abc import Sequence

from cloudmesh_cluster.core.model import Node, Profile
from cloudmesh_cluster.nodes.keys import KeyPair
from cloudmesh_cluster.nodes.user_data import user_data
from cloudmesh_cluster.providers.base import Boot, NodeBoot

PROPAGATION_DEADLINE = 300
"""Seconds for which the last node tries to tell the others who is who."""


def make_boot(
    *,
    cluster: str,
    operation: str,
    profile: Profile,
    network: str,
    nodes: Sequence[Node],
    booted: Sequence[Node],
    login_public_key: str,
    bootstrap: KeyPair,
    packages: Sequence[str] = (),
    signal: str | None = None,
    host_keys_signal: str | None = None,
    description: str = "",
    cluster_id: str = "",
) -> Boot:
    """Return what a provider needs to boot nodes; a pure function of what is given.

    Args:
        cluster: its name.
        operation: the id of the operation that boots them.
        profile: says user and size of the nodes.
        network: the nodes' network as CIDR.
        nodes: all nodes of the cluster.
        booted: those to boot, in order; the last one propagates the hosts, if their list fits into its user_data.
        login_public_key: opens the login user's account.
        bootstrap: the operation's own key pair.
        packages: Debian packages that plugins need.
        signal: what the last node's user_data says where the cloud puts the command that is to tell it.
        host_keys_signal: what every node's user_data says where the cloud puts the command for its host keys.
        description: what another machine needs to know of the cluster, see `describe`.
        cluster_id: the random id of the cluster.

    Raises:
        UsageError: a node's user_data is larger than clouds accept.

    """
    specs = {"master": profile.master, "worker": profile.worker}
    told = [
        user_data(
            cluster=cluster,
            operation=operation,
            node=node,
            nodes=nodes,
            booted=booted,
            user=profile.user,
            login_public_key=login_public_key,
            bootstrap=bootstrap,
            cidr=network,
            deadline=PROPAGATION_DEADLINE,
            signal=signal,
            host_keys_signal=host_keys_signal,
        )
        for node in booted
    ]
    return Boot(
        cluster,
        network,
        tuple(NodeBoot(node, specs[node.role], data.content) for node, data in zip(booted, told, strict=True)),
        tuple(packages),
        operation=operation,
        login_public_key=login_public_key,
        bootstrap_private_key=bootstrap.private,
        propagates=told[-1].propagation == "included",
        description=description,
        additions=profile.template,
        cluster_id=cluster_id,
    )
