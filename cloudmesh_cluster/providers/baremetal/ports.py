"""Ports between machines: tried from each to the others, with something that listens there for as long as it takes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncssh

from cloudmesh_cluster.core.model import Problem
from cloudmesh_cluster.nodes import boot_steps as first_contact
from cloudmesh_cluster.providers.baremetal.login import Login, NoLogin, run, text

READY = 20.0
TRY = 120.0
ALL_PAIRS = 24
"""Up to how many machines each tries all others; beyond, the head tries all, all try the head, and each the next."""


@dataclass(frozen=True)
class Listening:
    """A machine with the ports that plugins will serve there; its SSH server's is tried in any case."""

    login: Login
    where: str
    ports: tuple[int, ...]


async def try_ports(machines: Sequence[Listening]) -> list[Problem]:
    """Return which ports are blocked between which machines, and which are taken already."""
    if len(machines) < 2:
        return []
    async with AsyncExitStack() as stack:
        taken = await asyncio.gather(*(_listen(each, stack) for each in machines))
        heard = {id(each): ports for each, (ports, _) in zip(machines, taken, strict=True)}
        blocked = await asyncio.gather(
            *(_try(machine, [(peer, heard[id(peer)]) for peer in peers]) for machine, peers in _pairs(machines))
        )
    return [problem for _, problems in taken for problem in problems] + [each for some in blocked for each in some]


async def _listen(machine: Listening, stack: AsyncExitStack) -> tuple[list[int], list[Problem]]:
    """Listen on the ports of plugins until the stack is closed; return those that can be tried."""
    if not machine.ports:
        return [], []
    listener = machine.login.connection.create_process(first_contact.listen(machine.ports))
    process = await stack.enter_async_context(listener)
    stack.callback(process.stdin.write_eof)
    said = ""
    try:
        async with asyncio.timeout(READY):
            while "ready\n" not in said and (line := await process.stdout.readline()):
                said += line
    except TimeoutError:
        return [], []
    except (OSError, asyncssh.Error):
        return [], []
    if "ready\n" not in said:
        return [], []  # without Python: it has been warned about
    problems = [
        Problem(machine.where, f"port {port} can't be served: {why}", f"there: sudo ss -ltnp 'sport = :{port}'")
        for port, why in re.findall(r"^(\d+)=(.*)$", said, re.MULTILINE)
    ]
    return [port for port in machine.ports if f"{port}=" not in said], problems


def _pairs(machines: Sequence[Listening]) -> list[tuple[Listening, list[Listening]]]:
    count = len(machines)
    if count <= ALL_PAIRS:
        return [(each, [peer for peer in machines if peer is not each]) for each in machines]
    ring = [(machines[i], [machines[0], machines[(i + 1) % count]]) for i in range(1, count)]
    return [(machines[0], list(machines[1:])), *ring]


async def _try(machine: Listening, peers: Sequence[tuple[Listening, Sequence[int]]]) -> list[Problem]:
    places = {
        f"{peer.login.address}:{port}": (peer, port)
        for peer, ports in peers
        for port in (peer.login.route.port, *ports)
    }
    step = first_contact.try_ports(list(places))
    try:
        done = await run(machine.login, step.command, step.stdin, timeout=TRY)
    except NoLogin as error:
        return [Problem(machine.where, error.message, "")]
    found = dict(re.findall(r"^([\d.]+:\d+)=(.*)$", text(done.stdout), re.MULTILINE))
    return [
        Problem(
            machine.where,
            f"port {port} of {peer.where} is blocked from here: {answer}",
            f"on {peer.login.address}: sudo ufw allow from {machine.login.address}; or the firewall between them",
        )
        for place, (peer, port) in places.items()
        if (answer := found.get(place, "no answer")) != "ok"
    ]
