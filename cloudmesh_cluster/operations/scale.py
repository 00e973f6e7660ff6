"""`cm cluster scale` and `replace`: workers come and go, and the others learn of it."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cloudmesh_cluster.checks.runner import misplaced
from cloudmesh_cluster.config.acluster import machine_of
from cloudmesh_cluster.core.errors import InvalidInput, Unreachable, UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, Node
from cloudmesh_cluster.core.targets import select
from cloudmesh_cluster.operations.session import OnFailure, Session
from cloudmesh_cluster.operations.steps.bring_up import bring_up, make_ready
from cloudmesh_cluster.operations.steps.finish import Summary, finish
from cloudmesh_cluster.operations.steps.host_keys import refuse_pointless_trust
from cloudmesh_cluster.operations.steps.machines import strip
from cloudmesh_cluster.operations.steps.plugins import leave, without
from cloudmesh_cluster.operations.steps.preconditions import (
    refuse_dead,
    refuse_obstacles,
    require_any_running,
    require_cluster,
)
from cloudmesh_cluster.operations.steps.rebuild import renew
from cloudmesh_cluster.operations.steps.wiring import wire_all
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.providers.base import ChangeKind, Placement
from cloudmesh_cluster.ssh.connections import Connections
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.store import State

LAST_WORDS = 10.0
"""Seconds in which a worker that is to go may answer."""


@dataclass(frozen=True)
class ScaleRequest:
    """The workers that come, and whether any is believed for whom nobody vouches; or the names of those that go."""

    add: tuple[Node, ...] = ()
    remove: tuple[str, ...] = ()
    trust_on_first_use: bool = False


@dataclass(frozen=True)
class ReplaceRequest:
    """The node that is replaced, and whether it is believed if nobody vouches for its host key."""

    node: str
    trust_on_first_use: bool = False


async def scale(
    home: Home,
    name: str,
    count: str | None,
    emit: Emit,
    *,
    machines: Sequence[str] = (),
    on_failure: OnFailure = "rollback",
    timeout: float | None = None,
    trust_on_first_use: bool = False,
) -> Summary:
    """Change the number of workers; a failed growth removes only the new nodes.

    Args:
        home: whose cluster.
        name: the cluster's.
        count: `N`, `+N` or `-N`; None is as many more as there are machines.
        emit: who listens.
        machines: machines that exist and become the new workers, ADDRESS or ADDRESS:PORT.
        on_failure: of a growth; a shrink that failed is kept, `resume` finishes it.
        timeout: seconds for the whole operation.
        trust_on_first_use: whether a new worker is believed for whose host key nobody vouches.

    Raises:
        UsageError: the count is no count, or leaves no worker; or it does not fit the machines.

    """
    with State(home) as state:
        planned = _request(home, state, state.cluster(name), count, machines)
        refuse_pointless_trust(state.record(name).provider_type, trust_on_first_use)
    request = dataclasses.replace(planned, trust_on_first_use=trust_on_first_use)

    def refuse(state: State) -> None:
        require_cluster(name, states=("ready",))(state)
        cluster = state.cluster(name)
        # What would be added might be there by now, and an undo would destroy it.
        if _request(home, state, cluster, count, machines) != planned:
            raise UsageError(f"the workers of {name!r} have changed meanwhile", hint=f"cm cluster show {name}")
        _preflight(home, state, name, request)
        refuse_dead(home, state, name, without(cluster, request.remove).nodes)
        kind: ChangeKind = "grow" if request.add else "shrink"
        refuse_obstacles(home, state, name, kind, goes=request.remove, comes=request.add)

    async with session(
        home, name, "scale", request, emit=emit, timeout=timeout, refuse=refuse,
        on_failure=on_failure if request.add else "keep",
    ) as current:  # fmt: skip
        return await carry_out(current, request)


def _preflight(home: Home, state: State, name: str, request: ScaleRequest) -> None:
    """Refuse a growth for which the provider has no room.

    Raises:
        InvalidInput: names all problems at once.

    """
    from cloudmesh_cluster.providers import provider_of

    if not request.add:
        return
    record = state.record(name)
    provider = provider_of(home, record.provider_type, record.provider_settings)
    problems, _ = provider.preflight(
        record.profile,
        needs_internet=False,
        cluster=name,
        new=request.add,
        trust_on_first_use=request.trust_on_first_use,
    )
    if problems:
        raise InvalidInput(problems)


def preview(home: Home, name: str, count: str | None, *, machines: Sequence[str] = ()) -> list[tuple[str, Node]]:
    """Return what a scale would do with each node: "add", "remove" or "keep"; touches nothing.

    Raises:
        UsageError: it would be refused.

    """
    with State(home) as state:
        require_cluster(name, states=("ready",))(state)
        cluster = state.cluster(name)
        request = _request(home, state, cluster, count, machines)
        _preflight(home, state, name, request)
        refuse_dead(home, state, name, without(cluster, request.remove).nodes)
        kind: ChangeKind = "grow" if request.add else "shrink"
        refuse_obstacles(home, state, name, kind, goes=request.remove, comes=request.add)
    there = [("remove" if node.name in request.remove else "keep", node) for node in cluster.nodes]
    return [*there, *(("add", node) for node in request.add)]


def wanted_workers(count: str, now: int) -> int:
    """Return the number of workers that `N`, `+N` or `-N` means.

    Raises:
        UsageError: it is none of these, or fewer than 1.

    """
    if not re.fullmatch(r"[+-]?\d{1,5}", count):
        raise UsageError(f"{count!r} is no number of workers", hint="a number, +N or -N")
    wanted = now + int(count) if count[0] in "+-" else int(count)
    if wanted < 1:
        hint = "a larger number; or the whole cluster: cm cluster delete NAME"
        raise UsageError(f"a cluster needs at least 1 worker, {count} leaves {wanted}", hint=hint)
    return wanted


def _request(home: Home, state: State, cluster: Cluster, count: str | None, machines: Sequence[str]) -> ScaleRequest:
    from cloudmesh_cluster.providers import provider_of

    workers, record = cluster.workers, state.record(cluster.name)
    if count is None and not machines:
        raise UsageError("say how many workers there are to be", hint=f"cm cluster scale {cluster.name} N, +N or -N")
    wanted = wanted_workers(count or f"+{len(machines)}", len(workers))
    settings = _with_machines(record, cluster, machines, wanted) if machines else record.provider_settings
    if wanted <= len(workers):
        _refuse_misplaced(record, without(cluster, [node.name for node in workers[wanted:]]))
        return ScaleRequest(remove=tuple(node.name for node in workers[wanted:]))
    first = max(node.index for node in cluster.nodes) + 1
    indices = range(first, first + wanted - len(workers))
    provider = provider_of(home, record.provider_type, settings)
    placement = provider.place(cluster.name, indices, taken=[node.private_ip for node in cluster.nodes])
    return ScaleRequest(add=tuple(_worker(cluster.name, i, placement) for i in indices))


def _with_machines(record: ClusterRecord, cluster: Cluster, machines: Sequence[str], wanted: int) -> dict[str, object]:
    """Return the provider's settings with these machines as the only ones that are free.

    Raises:
        UsageError: the provider has no use for them, or they are too many or too few.

    """
    if record.provider_type != "baremetal":
        what = f"the provider of {cluster.name!r} makes its nodes itself: no machine can be named"
        raise UsageError(what, hint=f"cm cluster scale {cluster.name} +{len(machines)}")
    new = [machine_of(word) for word in machines]
    if wanted - len(cluster.workers) != len(new):
        what = f"{len(new)} machines are named, and {wanted - len(cluster.workers)} workers are to come"
        raise UsageError(what, hint="leave the number out")
    for node in cluster.nodes:
        for machine in new:
            if str(machine) == node.provider_id:
                raise UsageError(f"machine {machine} is {node.name} already", hint=f"cm cluster nodes {cluster.name}")
    head = machine_of(cluster.master.provider_id or cluster.master.private_ip)
    return {**record.provider_settings, "machines": [asdict(machine) for machine in (head, *new)]}


def _worker(cluster: str, index: int, placement: Placement) -> Node:
    address, identity = placement.addresses[index], placement.ids.get(index)
    return Node(f"{cluster}-worker-{index}", "worker", index, "planned", address, provider_id=identity)


def _refuse_misplaced(record: ClusterRecord, smaller: Cluster) -> None:
    if problems := misplaced(smaller, record.profile.checks, source=record.profile.source):
        raise InvalidInput(problems)


async def carry_out(current: Session, request: ScaleRequest) -> Summary:
    """Add or remove workers; also from the middle."""
    began = time.monotonic()
    if request.add:
        await _grow(current, request)
    if request.remove:
        await _shrink(current, request)
    return await finish(current, began, touching=tuple(_touched(current, request)))


async def _grow(current: Session, request: ScaleRequest) -> None:
    names = [node.name for node in request.add]
    payloads = await make_ready(current)
    # Undone newest first: the new nodes go, then the others forget them.
    with current.journal.step("join", undo={"kind": "membership", "nodes": names}):
        known = {node.name for node in current.cluster.nodes}
        current.state.put_nodes(current.name, [node for node in request.add if node.name not in known])
    new = [node for node in current.cluster.nodes if node.name in names]
    await bring_up(current, new, payloads, undo={"kind": "nodes", "nodes": names})


async def _shrink(current: Session, request: ScaleRequest) -> None:
    leaving = [node for node in current.cluster.nodes if node.name in request.remove]
    with current.journal.step("leave"):
        if leaving and current.plugins:
            async with current.connections() as connections:
                answering = await _answering(current, connections, leaving)
                await leave(current, connections, leaving, answering=answering)
    with current.journal.step("destroy"):
        await strip(current, leaving)
        await current.disconnect(leaving)
        await current.provider.destroy(current.name, list(request.remove))
        current.state.remove_nodes(current.name, list(request.remove))
    with current.journal.step("wire"):
        await wire_all(current)


def _touched(current: Session, request: ScaleRequest) -> list[Node]:
    """Return the nodes whose SSH edges are new: those that came, or the neighbours of those that went."""
    names = {node.name for node in request.add}
    nodes = current.cluster.nodes
    return [node for node in nodes if node.name in names] or [nodes[-1]]


async def replace(
    home: Home, name: str, node: str, emit: Emit, *, timeout: float | None = None, trust_on_first_use: bool = False
) -> Summary:
    """Replace a node by a fresh one of the same name and address.

    Args:
        home: whose cluster.
        name: the cluster's.
        node: a target that names one node.
        emit: who listens.
        timeout: seconds for the whole operation.
        trust_on_first_use: whether the new node is believed if nobody vouches for its host key.

    Raises:
        NotFound: there is no such node.
        UsageError: the target names several nodes.

    """
    with State(home) as state:
        nodes = select(state.cluster(name).nodes, node)
        refuse_pointless_trust(state.record(name).provider_type, trust_on_first_use)
    if len(nodes) != 1:
        hint = f"for example: cm cluster replace {name} {nodes[0].short_name}"
        raise UsageError(f"{node!r} names {len(nodes)} nodes; replace takes one", hint=hint)
    request = ReplaceRequest(nodes[0].name, trust_on_first_use)

    def refuse(state: State) -> None:
        require_any_running(home, name)(state)
        refuse_obstacles(home, state, name, "replace", goes=[request.node], comes=nodes)

    async with session(home, name, "replace", request, emit=emit, timeout=timeout, refuse=refuse) as current:
        return await carry_out_replace(current, request)


async def carry_out_replace(current: Session, request: ReplaceRequest) -> Summary:
    """Replace the node; also from the middle."""
    began = time.monotonic()
    nodes = [node for node in current.cluster.nodes if node.name == request.node]
    await _part_with(current, nodes)
    await renew(current, nodes)
    return await finish(current, began, touching=tuple(nodes))


async def _part_with(current: Session, nodes: list[Node]) -> None:
    """Let the plugins move their work off a worker, if it still answers and there is another to take it."""
    if nodes[0].role != "worker" or len(current.cluster.workers) == 1 or not current.plugins:
        return
    async with current.connections() as connections:
        if answering := await _answering(current, connections, nodes):
            with current.journal.step("leave"):
                await leave(current, connections, nodes, answering=answering)


async def _answering(current: Session, connections: Connections, nodes: Sequence[Node]) -> list[Node]:
    """Return those of some nodes that still answer; warn about the others."""
    running = current.running(nodes)

    async def answers(node: Node) -> bool:
        try:
            if node not in running:
                raise Unreachable(node.name, "it does not run")
            await connections.connect(node, within=LAST_WORDS)
        except Unreachable as error:
            current.journal.warn(f"it can't hand over its work: {error.reason}", node=node.name)
            return False
        return True

    answered = await asyncio.gather(*(answers(node) for node in nodes))
    return [node for node, there in zip(nodes, answered, strict=True) if there]
