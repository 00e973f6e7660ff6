"""Whom the host keys of servers are learnt from: Nova, which keeps the console, or Heat, whom each node tells its own.

A node tells them through a handle of its own. Heat takes signals for a handle from all nodes of the stack; so what a
node says is sealed with its token, which no other node has, together with the id of its server: neither another node
nor a server that was there before is taken for it. One that Nova makes anew, under the same id, gets another handle.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace

from cloudmesh_cluster.core.errors import ProviderError, Unreachable
from cloudmesh_cluster.core.model import HostKeys, Node
from cloudmesh_cluster.nodes.hosts import parse_console_host_keys, parse_host_keys
from cloudmesh_cluster.providers.base import Boot, NodeBoot
from cloudmesh_cluster.providers.openstack import servers, template
from cloudmesh_cluster.providers.openstack.changes import obstacles
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.explained import in_words
from cloudmesh_cluster.providers.openstack.provisioning import failure
from cloudmesh_cluster.providers.openstack.settings import Settings
from cloudmesh_cluster.providers.openstack.stack import Stack

PAUSE = 2.0
LOOKS_A_SECOND = 4.0
REFUSALS = (403, 405, 501)
"""Answers that will be the same however often a cloud is asked."""
FIRST_USE = "or trust whoever answers: --trust-on-first-use of create, scale and replace"
WAYS = {
    "console": f"host_keys: handle in providers.yaml, where nodes can reach Heat; {FIRST_USE}",
    "handle": f"host_keys: console in providers.yaml, where the cloud gives one; {FIRST_USE}",
}


def seal(token: str, server: str, keys: str) -> str:
    """Return the mark by which a node proves that it has the token of its handle, as `tell-host-keys` makes it."""
    inner = hashlib.sha256(f"{token} {server} {keys}".encode()).hexdigest()
    return hashlib.sha256(f"{token} {inner}".encode()).hexdigest()


class HostKeyDesk:
    """Where the host keys of one provider's servers are asked for.

    Args:
        cloud: where the servers are.
        settings: say who is asked.
        stack_of: returns the stack of a cluster by the cluster's name.

    """

    def __init__(self, cloud: Cloud, settings: Settings, stack_of: Callable[[str], Stack]) -> None:
        self._cloud = cloud
        self._by_handle = settings.host_keys == "handle"
        self._way = WAYS[settings.host_keys]
        self._stack_of = stack_of
        self._stacks: dict[str, Stack] = {}
        self._handles: dict[str, str] = {}
        self._former: dict[str, list[str]] = {}
        self._waiting = 0

    def expect(self, boot: Boot) -> None:
        """Ask from now on for what the nodes of a boot say through the handles of its operation."""
        for each in boot.nodes:
            self._handles[each.node.name] = template.host_key_handle(each.node.index, boot.operation)

    async def before_rebuild(self, boot: Boot) -> Boot:
        """Prepare for host keys that change under the same server ids; return what the nodes are to be told.

        Raises:
            ProviderError: the stack could not be changed.
            Unreachable: nobody will give the new host keys.

        """
        if self._by_handle:
            self.expect(boot)
            boot = await self._with_new_handles(boot)
        for each in boot.nodes:
            # What is said of the old disk is not believed of the new one.
            self._former[each.node.name] = await asyncio.to_thread(self._look, each.node)
        return boot

    async def learn(self, node: Node, *, deadline: float) -> HostKeys:
        """Return the host keys of a node, waiting `deadline` seconds for them at most.

        Raises:
            Unreachable: the cloud gives none, or not in time.

        """
        began, former = time.monotonic(), self._former.get(node.name)
        self._waiting += 1
        try:
            while (keys := await asyncio.to_thread(self._look, node)) in ([], former):
                if time.monotonic() - began > deadline:
                    raise await asyncio.to_thread(self._nothing, node, deadline)
                # The more nodes wait, the less often each is asked for: the cloud is not asked more often.
                await asyncio.sleep(max(PAUSE, self._waiting / LOOKS_A_SECOND))
        finally:
            self._waiting -= 1
        return HostKeys(tuple(keys), "handle" if self._by_handle else "console")

    def _look(self, node: Node) -> list[str]:
        """Return the host keys that are known of a node by now."""
        try:
            return self._told(node) if self._by_handle else self._printed(node)
        except ProviderError as error:
            if error.status in REFUSALS:
                where = "what nodes have told Heat" if self._by_handle else "the console"
                reason = f"the cloud does not show {where}, so nobody vouches for its host key ({error.message})"
                raise Unreachable(node.name, reason, hint=self._way) from error
            return []

    def _printed(self, node: Node) -> list[str]:
        return parse_console_host_keys(servers.printed(self._cloud, node.provider_id)) if node.provider_id else []

    def _told(self, node: Node) -> list[str]:
        with in_words():
            stack = self._stacks.setdefault(node.cluster, self._stack_of(node.cluster))
            if node.name not in self._handles and (handle := stack.host_key_handles().get(node.index)):
                self._handles[node.name] = handle
            if (handle := self._handles.get(node.name)) is None or not (signals := stack.signals(handle)):
                return []
            token = stack.attribute(handle, "token")
        told = (str(each.get("data", "")).partition(" ") for each in signals.values())
        sealed = (keys for mark, _, keys in told if mark == seal(token, node.provider_id or "", keys))
        return parse_host_keys(next(sealed, ""))

    def _nothing(self, node: Node, deadline: float) -> Unreachable:
        where = "told to Heat" if self._by_handle else "on its console"
        tail = servers.tail(self._cloud, node.provider_id or "")
        hint = f"{self._way}\n  {tail}" if tail else self._way
        return Unreachable(node.name, f"no host key {where} within {deadline:g} s", hint=hint)

    async def _with_new_handles(self, boot: Boot) -> Boot:
        """Give each node a handle of this operation, by a change of the stack that touches nothing else."""
        stack = self._stack_of(boot.cluster)
        for problem in await asyncio.to_thread(obstacles, self._cloud, stack, ()):
            raise ProviderError(f"{problem.where}: {problem.what}", hint=problem.hint)
        since = await stack.last_event()
        now = await asyncio.to_thread(stack.template)
        indices = [each.node.index for each in boot.nodes]
        wanted = template.with_host_key_handles(now, operation=boot.operation, indices=indices)
        await asyncio.to_thread(stack.update, wanted, {})
        async for event in stack.follow(since):
            if event.failed and event.of_stack:
                raise await failure(self._cloud, stack, event)
        told = [await asyncio.to_thread(self._with_command, stack, each) for each in boot.nodes]
        return replace(boot, nodes=tuple(told))

    def _with_command(self, stack: Stack, each: NodeBoot) -> NodeBoot:
        command = stack.attribute(self._handles[each.node.name], "curl_cli")
        told = each.user_data.replace(template.HOST_KEYS_SIGNAL.encode(), command.encode())
        return replace(each, user_data=told)
