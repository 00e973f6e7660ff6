"""Many servers on which nothing boots: what the provision step costs, against Heat alone with the same template."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from benchmarks.api_calls import Call, recorded
from benchmarks.cloud import OpenStack, quick_enough
from benchmarks.cm_command import Cm
from benchmarks.measured import BenchmarkFailed
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.nodes.keys import bootstrap_comment, generate, login_comment
from cloudmesh_cluster.operations.plan import CreateRequest, Plan, make_plan
from cloudmesh_cluster.operations.steps.boot import make_boot
from cloudmesh_cluster.providers.base import Boot
from cloudmesh_cluster.providers.openstack import template
from cloudmesh_cluster.providers.openstack.provider import OpenStackProvider

NAME = "benchfake"
STACK = f"cm-{NAME}"
STEPS = ("create", "list", "one more", "delete")
# Nobody would release a wait condition.
SETTINGS = "fake: {type: openstack, signal: ssh, flavor: m1.tiny}\n"


@dataclass(frozen=True)
class Step:
    """A step, its seconds with `cm`'s provider and with `openstack`, and the calls of the former."""

    what: str
    seconds: float
    calls: int
    raw: float

    @property
    def kept(self) -> bool:
        """Whether `cm` is quick enough."""
        return quick_enough(self.seconds, self.raw)


async def measure(cm: Cm, openstack: OpenStack, servers: int) -> list[Step]:
    """Create servers, list them, add one and delete all, first by Heat alone, then by the provider.

    Raises:
        BenchmarkFailed: not all servers are there, or something is left.

    """
    (cm.home / "providers.yaml").touch(mode=0o600)
    (cm.home / "providers.yaml").write_text(SETTINGS, encoding="utf-8")
    request = CreateRequest(NAME, profile="default", provider="fake", workers=servers - 1)
    plan = make_plan(Home(cm.home, cm.cache), request, os.environ)
    provider = OpenStackProvider(Home(cm.home, cm.cache), plan.provider_settings)
    added = provider.place(NAME, [servers], taken=[node.private_ip for node in plan.nodes]).addresses[servers]
    more = [Node(f"{NAME}-worker-{servers}", "worker", servers, "planned", added)]
    login = generate(login_comment(NAME)).public
    boots = [_boot(plan, plan.nodes, login), _boot(plan, more, login)]
    try:
        raw = _raw(cm.home, openstack, provider, boots)
        own = [await _counted(work) for work in _own(provider, boots)]
    finally:
        await provider.destroy_all(NAME)
    return [Step(what, *each, seconds) for what, each, seconds in zip(STEPS, own, raw, strict=True)]


def _boot(plan: Plan, nodes: Sequence[Node], login: str) -> Boot:
    known = {node.name: node for node in (*plan.nodes, *nodes)}
    operation = nodes[-1].name
    return make_boot(
        cluster=plan.cluster, operation=operation, profile=plan.profile, network=plan.network,
        nodes=tuple(known.values()), booted=nodes, login_public_key=login,
        bootstrap=generate(bootstrap_comment(operation)),
    )  # fmt: skip


def _raw(folder: Path, openstack: OpenStack, provider: OpenStackProvider, boots: Sequence[Boot]) -> list[float]:
    """Return the seconds of each step by the command `openstack`."""
    (first, parameters), (addition, more) = (provider.rendered(boot) for boot in boots)
    whole = yaml.safe_load(first)
    grown = template.grown(whole, yaml.safe_load(addition), indices=[boots[1].nodes[0].node.index])
    runs = []
    for name, content, values in (("create", whole, parameters), ("update", grown, more)):
        files = [folder / f"{name}-{part}.yaml" for part in ("template", "environment")]
        for file, data in zip(files, (content, {"parameters": values}), strict=True):
            file.write_text(yaml.safe_dump(data), encoding="utf-8")
        runs.append(openstack("stack", name, "--wait", "-t", str(files[0]), "-e", str(files[1]), STACK))
        if name == "create":
            runs.append(openstack("server", "list", "--name", f"^{NAME}-"))
    return [run.seconds for run in (*runs, openstack.delete_stack(STACK))]


def _own(provider: OpenStackProvider, boots: Sequence[Boot]) -> Iterator[Callable[[], Awaitable[object]]]:
    """Yield what does each step by the provider."""
    first, more = boots

    async def provision(boot: Boot) -> None:
        made = [node.name async for node in provider.provision(boot, lambda event: None)]
        if len(set(made)) != len(boot.nodes):
            raise BenchmarkFailed(f"{len(made)} of {len(boot.nodes)} servers were made")

    async def count() -> None:
        states = await asyncio.to_thread(provider.states, NAME)
        if list(states.values()) != ["running"] * len(first.nodes):
            raise BenchmarkFailed(f"not all of {len(first.nodes)} servers run: {states}")

    async def delete() -> None:
        await provider.destroy_all(NAME)
        if left := await asyncio.to_thread(provider.leftovers, NAME):
            raise BenchmarkFailed(f"left behind: {left}")

    yield partial(provision, first)
    yield count
    yield partial(provision, more)
    yield delete


async def _counted(work: Callable[[], Awaitable[object]]) -> tuple[float, int]:
    """Return the seconds and the calls of a step."""
    calls: list[Call] = []
    began = time.monotonic()
    with recorded(calls.append):
        await work()
    return time.monotonic() - began, len(calls)
