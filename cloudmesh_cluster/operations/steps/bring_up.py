"""From nodes that do not exist to nodes that run everything the cluster runs: provision, reach, wire, scripts.

The same steps serve `create`, `scale`, `replace` and `rebuild`; each can be done again, which is how `resume` works.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cloudmesh_cluster.core.errors import RemoteFailed
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.core.tasks import task_group
from cloudmesh_cluster.nodes.boot_steps import (
    Greeting,
    greet,
    parse_greeting,
    parse_propagation,
    propagation_result,
)
from cloudmesh_cluster.nodes.keys import KeyPair, bootstrap_comment, generate, login_comment, public_of, write_private
from cloudmesh_cluster.nodes.keys import read_private as read_key
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.boot import PROPAGATION_DEADLINE, make_boot
from cloudmesh_cluster.operations.steps.description import ScriptName, describe
from cloudmesh_cluster.operations.steps.environments import bring_environments, check_wanted
from cloudmesh_cluster.operations.steps.host_keys import learn_host_keys
from cloudmesh_cluster.operations.steps.plugins import (
    Payloads,
    fetch_payloads,
    install_role,
    join,
    prepare_node,
)
from cloudmesh_cluster.operations.steps.scripts import replay
from cloudmesh_cluster.operations.steps.volumes import mount_volumes
from cloudmesh_cluster.operations.steps.wiring import raise_failed, wire_all
from cloudmesh_cluster.providers.base import Boot, NodeBoot
from cloudmesh_cluster.ssh.connections import Connections

REACH_DEADLINE = 600


async def make_ready(session: Session) -> Payloads:
    """Have at hand what nodes are made of, before any is made or touched: what plugins install, and the image.

    Raises:
        UsageError: something of it can't be had.

    """
    for chosen in session.plugins:
        session.journal.keep_version(f"plugin {chosen.plugin.name} {chosen.plugin.version}")
    payloads = await fetch_payloads(session)
    await check_wanted(session)
    with session.journal.step("image"):
        await session.provider.make_image(session.record.profile, _packages(session), session.journal.emit)
    return payloads


def _packages(session: Session) -> tuple[str, ...]:
    return tuple(sorted({package for chosen in session.plugins for package in chosen.plugin.packages}))


async def bring_up(
    session: Session,
    new: Sequence[Node],
    payloads: Payloads,
    *,
    undo: dict[str, Any] | None,
    again: bool = False,
) -> None:
    """Boot nodes that the journal knows already, and make them full members of the cluster.

    Args:
        session: the running operation.
        new: the nodes to boot, in order; those that run already are taken as they are.
        payloads: what `make_ready` has returned.
        undo: how to take the boot back; None when it is not to be taken back.
        again: whether the nodes are there, and are to get a fresh disk.

    Raises:
        CmError: what failed first.

    """
    # Only the stack's own changes wait for a signal.
    boot = _make_boot(session, new, signal=None if again else session.provider.signal)
    provision = session.provider.rebuild if again else session.provider.provision
    async with session.connections() as connections:
        async with task_group() as group:
            reached: list[asyncio.Task[Node]] = []
            gateway_is_open = asyncio.Event()
            if all(node.role != "master" for node in new):
                gateway_is_open.set()
            began = time.monotonic()
            with session.journal.step("provision", undo=undo):
                async for node in provision(boot, session.journal.emit):
                    session.journal.keep(Event("done", "provision", node.name, seconds=time.monotonic() - began))
                    session.state.put_nodes(session.name, [node])
                    reaching = group.create_task(reach(session, connections, node, gateway_is_open))
                    reached.append(reaching)
                    group.create_task(_run_everywhere_scripts(session, connections, reaching, payloads))
            with session.journal.step("reach"):
                await asyncio.gather(*reached)
            with session.journal.step("wire"):
                if boot.propagates:
                    await _read_propagation(session, connections, new[-1])
                await wire_all(session, connections)
        async with task_group() as group:
            group.create_task(session.provider.settle(boot, session.journal.emit))
            group.create_task(_run_role_scripts(session, connections, new))
    names = {node.name for node in new}
    session.set_node_states([node for node in session.cluster.nodes if node.name in names], "running")


def _make_boot(session: Session, new: Sequence[Node], *, signal: str | None) -> Boot:
    """Return what to boot, with the keys of this cluster and of this operation."""
    record = session.record
    if session.machines_stay:
        specs = {"master": record.profile.master, "worker": record.profile.worker}
        machines = tuple(NodeBoot(node, specs[node.role], b"") for node in new)
        return Boot(session.name, record.network, machines, login_public_key=_login_public_key(session),
                    trust_on_first_use=session.trusts_on_first_use, cluster_id=record.cluster_id)  # fmt: skip
    boot = make_boot(
        cluster=session.name,
        operation=session.journal.operation.id,
        profile=record.profile,
        network=record.network,
        nodes=session.cluster.nodes,
        booted=new,
        login_public_key=_login_public_key(session),
        bootstrap=bootstrap_key(session),
        packages=_packages(session),
        signal=signal,
        host_keys_signal=session.provider.host_keys_signal,
        description=_description(session),
        cluster_id=record.cluster_id,
    )
    if not boot.propagates:
        session.journal.warn("the list of nodes outgrows user_data: names are propagated by the client alone")
    return boot


def _description(session: Session) -> str:
    record = session.record
    return describe(
        record.profile,
        provider_settings=record.provider_settings,
        network=record.network,
        scripts=[
            ScriptName(each.role, each.name, each.digest, each.expect.exit)
            for each in session.state.scripts(session.name)
        ],
        bootstrap_keys=record.bootstrap_keys,
        cluster_id=record.cluster_id,
        home=session.home,
    )


def _login_public_key(session: Session) -> str:
    return public_of(read_key(session.home.login_key(session.name)), login_comment(session.name))


def bootstrap_key(session: Session) -> KeyPair:
    """Return the key pair that this operation boots nodes with, made when it is first asked for."""
    operation = session.journal.operation.id
    file = session.home.bootstrap_key(session.name, operation)
    if not file.exists():
        pair = generate(bootstrap_comment(operation))
        record = session.record
        keys = (*record.bootstrap_keys, pair.public)
        session.state.put_record(session.name, replace(record, bootstrap_keys=keys))
        write_private(file, pair.private)
    private = read_key(file)
    return KeyPair(private, public_of(private, bootstrap_comment(operation)))


async def reach(
    session: Session,
    connections: Connections,
    node: Node,
    gateway_is_open: asyncio.Event,
    *,
    keys_deadline: float = REACH_DEADLINE,
) -> Node:
    """Wait until a node answers with a pinned host key and has ended its first boot; keep the keys it has.

    Args:
        session: the running operation.
        connections: to the nodes.
        node: the node, which has been provisioned.
        gateway_is_open: set when the master lets others through; nodes behind it wait for that.
        keys_deadline: seconds to wait for the host keys.

    Raises:
        CmError: it does not answer, or its first boot failed.

    """
    with session.journal.progress("reach", node=node.name):
        host_keys = await learn_host_keys(session, connections, node, gateway_is_open, deadline=keys_deadline)
        connections.pin(node, host_keys.keys)
        session.state.put_host_keys(session.name, node.name, host_keys)
        if session.provider.via(node):
            await gateway_is_open.wait()
        await connections.connect(node, within=REACH_DEADLINE, login_grace=30)
        step = greet(
            cluster=session.name,
            user=session.user,
            node=node,
            nodes=session.cluster.nodes,
            # A machine that was there before has booted long ago, and its cloud-init is none of the cluster's business.
            timeout=0 if session.machines_stay else REACH_DEADLINE,
        )
        result = await connections.run(node, step.command, sudo=True, stdin=step.stdin, timeout=REACH_DEADLINE + 30)
        raise_failed("first boot", [result], hint=f"the console is in {session.logs}")
        greeting = parse_greeting(result.stdout, node=node.name)
        session.journal.keep_version(greeting.system, node=node.name)
        if not session.machines_stay:
            judge_first_boot(node, greeting, result)
        if not session.machines_stay and greeting.cloud_init == "degraded":
            session.journal.warn(f"cloud-init: {'; '.join(greeting.cloud_init_errors)}", node=node.name)
        reached = replace(node, state="reached")
        session.state.put_reached(session.name, reached, public_key=greeting.public_key)
        if node.role == "master":
            gateway_is_open.set()
        return reached


def judge_first_boot(node: Node, greeting: Greeting, result: CommandResult) -> None:
    """Raise when a node's cloud-init failed, or had not ended in time.

    Raises:
        RemoteFailed: says which of both, and why it failed.

    """
    if greeting.cloud_init == "error":
        errors = "; ".join(greeting.cloud_init_errors) or "see its cloud-init log"
        raise RemoteFailed(f"cloud-init failed on {node.name}: {errors}", [result])
    if greeting.cloud_init == "running":
        raise RemoteFailed(f"cloud-init on {node.name} did not end within {REACH_DEADLINE} s", [result])


async def _read_propagation(session: Session, connections: Connections, last: Node) -> None:
    """Read what the last node's propagation script says; what it could not do, `wire` repairs."""
    step = propagation_result(session.journal.operation.id, PROPAGATION_DEADLINE)
    with session.journal.progress("propagate names", node=last.name):
        result = await connections.run(
            last, step.command, sudo=True, stdin=step.stdin, timeout=PROPAGATION_DEADLINE + 30
        )
    raise_failed("propagation", [result])
    propagation = parse_propagation(result.stdout)
    for peer, state in propagation.peers.items():
        if state != "ok":
            session.journal.warn(f"the hosts were not propagated to {peer}: {state}; repaired by wire", node=last.name)
    if propagation.state == "timed out":
        session.journal.warn("the propagation of the hosts did not end in time; repaired by wire", node=last.name)


async def _run_everywhere_scripts(
    session: Session, connections: Connections, reaching: asyncio.Task[Node], payloads: Payloads
) -> None:
    """Mount a node's volumes, bring the plugins to it and run the `all` scripts there, as soon as it is reached."""
    node = await reaching
    await mount_volumes(session, connections, node)
    for chosen in session.plugins:
        await prepare_node(session, connections, node, chosen, payloads)
    await replay(session, connections, [node], roles=("all",))


async def _run_role_scripts(session: Session, connections: Connections, new: Sequence[Node]) -> None:
    """Bring environments, install and start plugins by role, then run the scripts of the roles: master, then worker."""
    with session.journal.step("scripts"):
        await bring_environments(session, connections, new)
        for chosen in session.plugins:
            await install_role(session, connections, new, chosen)
            await join(session, connections, new, chosen)
        for role in ("master", "worker"):
            await replay(session, connections, [node for node in new if node.role == role], roles=(role,))
