"""The marks by which what was made for a cluster is recognized: its name, and the random id that no other cluster has.

A name is only a name: two people may give the same one, in one project or in two. Whatever is made gets its mark in the
very request that makes it, so that nothing of a cluster is ever without one, and nothing else has it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PREFIX = "cm-"
_ID = r"[0-9a-f]{16}"
_NAME = r"[a-z][a-z0-9-]*"
_TEXT = re.compile(rf"cm-cluster-(?P<cluster>{_NAME})(?: (?P<id>{_ID}))?")
_KEYPAIR = re.compile(rf"cm-(?P<cluster>{_NAME})-(?P<id>{_ID})-(?P<project>.+)")
_OWN_NAME = re.compile(rf"cm-(?P<cluster>{_NAME})-(?P<id>{_ID})")
_IN_BRACKETS = re.compile(rf"\((?P<text>{_TEXT.pattern})\)")


def new_cluster_id() -> str:
    """Return an id that no other cluster has."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Marks:
    """The marks of one cluster.

    Args:
        cluster: its name.
        id: its random id; empty for a cluster that was made before clusters had ids.

    """

    cluster: str
    id: str = ""

    @property
    def stack(self) -> str:
        """The name of its stack."""
        return f"{PREFIX}{self.cluster}"

    @property
    def name(self) -> str:
        """The name of what has neither tags nor a description."""
        return f"{self.stack}-{self.id}" if self.id else self.stack

    @property
    def text(self) -> str:
        """What a description says."""
        return f"cm-cluster-{self.cluster} {self.id}".rstrip()

    @property
    def tags(self) -> list[str]:
        """The tags of what has tags."""
        return ["cm", f"cm-cluster-{self.cluster}", *([f"cm-id-{self.id}"] if self.id else [])]

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of servers and volumes."""
        return {"cm_cluster": self.cluster, **({"cm_id": self.id} if self.id else {})}


def in_text(text: str | None) -> Marks | None:
    """Return the marks that a description is, or has at its end in brackets; None when it has none."""
    found = _TEXT.fullmatch(text or "") or _IN_BRACKETS.search(text or "")
    return Marks(found["cluster"], found["id"] or "") if found else None


def in_tags(tags: Iterable[str] | None) -> Marks | None:
    """Return the marks among tags."""
    words = list(tags or ())
    cluster = next((word.removeprefix("cm-cluster-") for word in words if word.startswith("cm-cluster-")), "")
    identity = next((word.removeprefix("cm-id-") for word in words if word.startswith("cm-id-")), "")
    return Marks(cluster, identity) if cluster and "cm" in words else None


def in_metadata(metadata: Mapping[str, str] | None) -> Marks | None:
    """Return the marks of a server or a volume."""
    known = metadata or {}
    return Marks(known["cm_cluster"], known.get("cm_id", "")) if known.get("cm_cluster") else None


def in_name(name: str) -> Marks | None:
    """Return the marks in the name of what has neither tags nor a description."""
    found = _OWN_NAME.fullmatch(name)
    return Marks(found["cluster"], found["id"]) if found else None


def in_keypair(name: str, project: str) -> Marks | None:
    """Return the marks in the name of a key pair of a project; all projects of a user share his key pairs."""
    found = _KEYPAIR.fullmatch(name)
    return Marks(found["cluster"], found["id"]) if found and found["project"] == project else None
