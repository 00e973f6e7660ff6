"""What a change of a stack would do besides what is asked for. Heat's own preview can't tell that.

It calls everything replaced that refers to another resource, even for the very same template.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cloudmesh_cluster.core.heat_names import index_of, is_signal
from cloudmesh_cluster.core.model import Problem
from cloudmesh_cluster.providers.openstack.cloud import Cloud
from cloudmesh_cluster.providers.openstack.stack import Stack
from cloudmesh_cluster.providers.openstack.template import shrunk

SHARED = ("network", "subnet", "server_group")
"""Resources with which every server would be made anew."""


def obstacles(cloud: Cloud, stack: Stack, indices: Collection[int]) -> list[Problem]:
    """Return why servers can't come or go without harm to the others.

    Args:
        cloud: where the stack is.
        stack: as it is now.
        indices: of the servers that come, go or are made anew.

    """
    if stack.find() is None:
        return []
    before = stack.template()
    return [*_to_be_replaced(cloud, stack, indices), *dangling(before, shrunk(before, indices=tuple(indices)))]


def _to_be_replaced(cloud: Cloud, stack: Stack, indices: Collection[int]) -> Iterator[Problem]:
    """Yield what of other servers, or of all, Heat makes anew at the next change, whatever that is.

    What a check has failed, or somebody has marked, is replaced; what failed in another way, too, unless Heat finds it
    well after all.
    """
    for each in cloud.heat.resources.list(stack.name):
        index, name = index_of(each.resource_name), each.resource_name
        if index in indices or (index is None and name not in SHARED) or not each.resource_status.endswith("_FAILED"):
            continue
        with_it = "the nodes in it" if index is None else "an empty disk"
        reset = f"openstack stack resource mark unhealthy --reset {stack.name} {name}"
        yield Problem(
            f"stack {stack.name}",
            f"{name} is {each.resource_status} ({each.resource_status_reason}):"
            f" any change of the stack would make it anew, with {with_it}",
            reset if index is None else f"replace that node first, or: {reset}",
        )


def dangling(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what refers to a resource that is in one template and not in the other any more."""
    gone = {name for name in before["resources"].keys() - after["resources"].keys() if not is_signal(name)}
    for section in ("resources", "outputs"):
        for name, body in after.get(section, {}).items():
            if referred := sorted(gone & set(references(body))):
                what = f"refers to {', '.join(referred)}, which would go"
                yield Problem(f"{section}.{name}", what, "change it in the stack first")


def references(body: Any) -> Iterator[str]:
    """Yield the names of the resources that a part of a template refers to."""
    if isinstance(body, Mapping):
        for key, value in body.items():
            if key == "get_resource" and isinstance(value, str):
                yield value
            elif key == "get_attr" and isinstance(value, list) and value and isinstance(value[0], str):
                yield value[0]
            elif key == "depends_on":
                yield from [value] if isinstance(value, str) else value
            else:
                yield from references(value)
    elif isinstance(body, list):
        for each in body:
            yield from references(each)
