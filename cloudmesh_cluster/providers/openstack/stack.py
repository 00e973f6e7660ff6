"""A stack of Heat: made, changed and deleted, its events followed to their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cloudmesh_cluster.core.errors import ProviderError
from cloudmesh_cluster.core.heat_names import index_of
from cloudmesh_cluster.core.marks import PREFIX, Marks, in_tags, in_text
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.template import host_key_handles

PAUSE = 1.0
TIMEOUT_MINUTES = 60
DELETE_ATTEMPTS = 2
"""Heat itself tries each resource several times before it says that a delete has failed."""


class Stalled(ProviderError):
    """Nothing happens to a stack that has not ended what it does."""


@dataclass(frozen=True)
class StackEvent:
    """Something that happened to a resource of a stack, or to the stack itself."""

    id: str
    resource: str
    status: str
    reason: str
    physical_id: str
    of_stack: bool
    at: str = ""

    @property
    def complete(self) -> bool:
        """Whether the resource is there and as it should be."""
        return self.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")

    @property
    def failed(self) -> bool:
        """Whether the resource has failed."""
        return self.status.endswith("_FAILED")

    @property
    def in_words(self) -> str:
        """The status as people write it, with the reason of a failure."""
        words = self.status.lower().replace("_", " ")
        return f"{words}: {self.reason}" if self.failed else words


def utc(time: str) -> str:
    """Return Heat's time as ours: it leaves out the fraction, and says Z."""
    return f"{time.removesuffix('Z')}.000+00:00"


class Stack:
    """The stack of a cluster, by its name and the cluster's id.

    Args:
        cloud: where it is.
        marks: the cluster's.

    """

    def __init__(self, cloud: Cloud, marks: Marks) -> None:
        self._cloud = cloud
        self.marks = marks
        self.name = marks.stack
        self._identity: str | None = None

    def find(self) -> Any | None:
        """Return the cluster's own stack; None when there is none, or another cluster has the name."""
        found = self.of_this_name()
        return found if found is not None and marks_of(found).id == self.marks.id else None

    def of_this_name(self) -> Any | None:
        """Return the stack of this name, whoever made it, or None; without its outputs, which are slow."""
        from heatclient.exc import HTTPNotFound

        try:
            stack = self._cloud.heat.stacks.get(self.name, resolve_outputs=False)
        except HTTPNotFound:
            return None
        return None if stack.stack_status == "DELETE_COMPLETE" else stack

    def template(self) -> dict[str, Any]:
        """Return the template that the stack was made of."""
        return dict(self._cloud.heat.stacks.template(self.name))

    def servers(self) -> dict[int, str]:
        """Return the ids of the stack's complete servers by index."""
        return self._by_index("OS::Nova::Server")

    def floating_ips(self) -> dict[int, str]:
        """Return the ids of the stack's complete floating IPs by the index of their servers."""
        return self._by_index("OS::Neutron::FloatingIP")

    def attachments(self) -> set[str]:
        """Return the names of the stack's complete attachments of volumes."""
        return {each.resource_name for each in self._complete("OS::Cinder::VolumeAttachment")}

    def _by_index(self, kind: str) -> dict[int, str]:
        return {
            index: each.physical_resource_id
            for each in self._complete(kind)
            if (index := index_of(each.resource_name)) is not None
        }

    def _complete(self, kind: str) -> list[Any]:
        return [
            each
            for each in self._cloud.heat.resources.list(self.name)
            if each.resource_type == kind and each.resource_status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
        ]

    def has_any(self, indices: Collection[int]) -> bool:
        """Return whether the stack has anything of some servers, in whatever state."""
        return any(index_of(each.resource_name) in indices for each in self._cloud.heat.resources.list(self.name))

    def is_waiting(self, handle: str) -> bool:
        """Return whether a wait condition of the stack still waits for its handle to be signalled."""
        return any(
            each.resource_type == "OS::Heat::WaitCondition"
            and each.resource_status.endswith("_IN_PROGRESS")
            and each.resource_name == handle.replace("handle_", "nodes_up_", 1)
            for each in self._cloud.heat.resources.list(self.name)
        )

    def signal(self, handle: str) -> None:
        """Signal a handle, as a node does."""
        self._cloud.heat.resources.signal(self.name, handle, {"status": "SUCCESS", "data": "told by cm"})

    def host_key_handles(self) -> dict[int, str]:
        """Return the names of the handles by which nodes have told their host keys, by index."""
        return host_key_handles(each.resource_name for each in self._cloud.heat.resources.list(self.name))

    def signals(self, handle: str) -> dict[str, dict[str, Any]]:
        """Return the signals that a handle has got, by the ids that they bear."""
        if self._identity is None:
            # With a bare name each question would be two.
            self._identity = str(self._cloud.heat.stacks.get(self.name, resolve_outputs=False).identifier)
        return dict(self._cloud.heat.resources.metadata(self._identity, handle) or {})

    def attribute(self, handle: str, name: str) -> str:
        """Return what Heat tells of a handle: "curl_cli", the command line that signals it, or the "token" in that."""
        found = self._cloud.heat.resources.get(self._identity or self.name, handle, with_attr=[name])
        return str(found.attributes[name])

    def create(self, template: str, parameters: Mapping[str, str]) -> None:
        """Ask Heat to make the stack; it returns before anything of it exists.

        Raises:
            ProviderError: there is a stack of this name, which somebody else has made.

        """
        from heatclient.exc import HTTPConflict

        try:
            self._cloud.heat.stacks.create(
                stack_name=self.name,
                template=template,
                parameters=dict(parameters),
                disable_rollback=True,
                timeout_mins=TIMEOUT_MINUTES,
                tags=",".join(self.marks.tags),
            )
        except HTTPConflict:
            # A request that was sent again after its answer was lost meets the stack that it has made itself.
            found = self.find()
            if found is None or found.parameters.get("login_public_key") != parameters["login_public_key"]:
                raise

    def update(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        """Ask Heat to change the stack; what the template does not touch stays as it is."""
        self._cloud.heat.stacks.update(
            self.name,
            template=dict(template),
            parameters=dict(parameters),
            existing=True,
            disable_rollback=True,
            timeout_mins=TIMEOUT_MINUTES,
        )

    def resume(self) -> None:
        """Ask Heat to resume the stack, which somebody has suspended; servers that run stay as they are."""
        self._cloud.heat.actions.resume(self.name)

    async def last_event(self) -> str | None:
        """Return the newest event there is, to follow only those that come after it."""
        events = await asyncio.to_thread(
            lambda: list(self._cloud.heat.events.list(self.name, sort_dir="desc", limit=1))
        )
        return events[0].id if events else None

    async def event_before_current_action(self) -> str | None:
        """Return the event before the stack began what it does now, to follow that from its beginning."""
        events = await asyncio.to_thread(self._events_after, None)
        begun = [i for i, each in enumerate(events) if each.of_stack and each.status.endswith("_IN_PROGRESS")]
        return events[begun[-1] - 1].id if begun and begun[-1] > 0 else None

    async def follow(self, since: str | None = None, *, patience: float | None = None) -> AsyncIterator[StackEvent]:
        """Yield events as they come, until the stack itself has ended what it does.

        Each look asks for the events after the last one only, and there is a pause after each: neither what a look
        costs nor how often there is one grows with the stack.

        Args:
            since: the event after which to begin.
            patience: seconds for which nothing may happen; Heat's own timeout if not given.

        Raises:
            Stalled: nothing happens any more.
            ProviderError: the stack was deleted behind our back.

        """
        from heatclient.exc import HTTPNotFound

        marker, running, quiet_since = since, True, time.monotonic()
        while running:
            try:
                events = await asyncio.to_thread(self._events_after, marker)
            except HTTPNotFound:
                raise gone(self) from None
            for event in events:
                marker = event.id
                yield event
                if event.of_stack and not event.status.endswith("_IN_PROGRESS"):
                    running = False
            if events:
                quiet_since = time.monotonic()
            elif (quiet := time.monotonic() - quiet_since) > (patience or 60 * TIMEOUT_MINUTES):
                raise Stalled(f"nothing has happened to stack {self.name} for {quiet:.0f} s")
            if running:
                await asyncio.sleep(PAUSE)

    def _events_after(self, marker: str | None) -> list[StackEvent]:
        keywords = {"marker": marker} if marker else {}
        return [
            StackEvent(
                id=each.id,
                resource=each.resource_name,
                status=each.resource_status,
                reason=each.resource_status_reason or "",
                physical_id=each.physical_resource_id or "",
                of_stack=each.resource_name == self.name,
                at=utc(each.event_time),
            )
            for each in self._cloud.heat.events.list(self.name, sort_dir="asc", **keywords)
        ]

    def history(self) -> list[StackEvent]:
        """Return all events of the stack, oldest first; none when there is no stack."""
        from heatclient.exc import HTTPNotFound

        try:
            return self._events_after(None) if self.find() is not None else []
        except HTTPNotFound:
            return []

    async def delete(self, *, deadline: float = 1800.0) -> None:
        """Delete the stack and wait until it is gone; a delete that failed is tried again.

        Raises:
            ProviderError: something of it can't be deleted; the first reason is given.

        """
        from heatclient.exc import HTTPNotFound

        from cloudmesh_cluster.providers.openstack.strays import detach_router, remove_strays

        began, reason = time.monotonic(), ""
        for _ in range(DELETE_ATTEMPTS):
            stack = await asyncio.to_thread(self.find)
            await asyncio.to_thread(remove_strays, self._cloud, self.marks, stack)
            if stack is None:
                return
            if not stack.stack_status.endswith("_COMPLETE"):
                await asyncio.to_thread(detach_router, self._cloud, self.marks)
            try:
                await asyncio.to_thread(self._cloud.heat.stacks.delete, stack.id)
            except HTTPNotFound:
                return
            # The status of an attempt before this one is still there for a moment.
            await asyncio.sleep(2 * PAUSE)
            if not (reason := await self._until_deleted(stack.id, began + deadline)):
                return
        raise ProviderError(f"stack {self.name} can't be deleted: {reason}", hint=f"openstack stack delete {self.name}")

    async def _until_deleted(self, identity: str, deadline: float) -> str:
        """Return why the stack is not gone; nothing when it is."""
        from heatclient.exc import HTTPNotFound

        while time.monotonic() < deadline:
            try:
                stack = await asyncio.to_thread(lambda: self._cloud.heat.stacks.get(identity, resolve_outputs=False))
            except HTTPNotFound:
                return ""
            if stack.stack_status == "DELETE_COMPLETE" and await asyncio.to_thread(self._name_is_free, identity):
                return ""
            if stack.stack_status == "DELETE_FAILED":
                return str(stack.stack_status_reason)
            await asyncio.sleep(PAUSE)
        return "it takes too long"

    def _name_is_free(self, identity: str) -> bool:
        """Return whether Heat has forgotten the name of a deleted stack; it does so a moment after the deletion."""
        from heatclient.exc import HTTPNotFound

        try:
            return str(self._cloud.heat.stacks.get(self.name, resolve_outputs=False).id) != identity
        except HTTPNotFound:
            return True


def marks_of(stack: Any) -> Marks:
    """Return the marks of a stack as Heat lists or shows it; its template says them too, should the tags be changed."""
    cluster = str(stack.stack_name).removeprefix(PREFIX)
    found = in_tags(getattr(stack, "tags", None)), in_text(getattr(stack, "description", None))
    return next((each for each in found if each and each.cluster == cluster and each.id), Marks(cluster))


def gone(stack: Stack) -> ProviderError:
    """Return what to raise when a stack was deleted behind our back."""
    return ProviderError(f"stack {stack.name} was deleted while it was worked on")
