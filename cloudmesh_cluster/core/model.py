"""The words of the design as frozen dataclasses: what a cluster is, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RoleName = Literal["master", "worker"]
Mesh = Literal["all", "master-to-workers", "none"]
ListenTo = Literal["cluster", "network"]
HostKeySource = Literal["console", "handle", "known hosts", "profile", "first use"]
CLUSTER_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")


@dataclass(frozen=True)
class Problem:
    """Something wrong with what the user gave: where, what, what was expected instead."""

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True)
class Volume:
    """A block volume of a role's nodes: its size in GiB, and where it is mounted; empty leaves that to the user."""

    size: int
    mount: str = ""


@dataclass(frozen=True)
class RoleSpec:
    """How many nodes a role has, and of which size: `memory` in MiB, None means the provider's default."""

    count: int
    image: str | None = None
    flavor: str | None = None
    cpus: float | None = None
    memory: int | None = None
    volumes: tuple[Volume, ...] = ()

    @property
    def mounts(self) -> tuple[str, ...]:
        """Where volumes are to be mounted, in that order."""
        return tuple(volume.mount for volume in self.volumes if volume.mount)


@dataclass(frozen=True)
class PluginUse:
    """A plugin as a profile names it, with the settings given there (defaults not yet filled in)."""

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Expectation:
    """What a command must answer: exit status, patterns (Python `re.search`), number of output lines."""

    exit: int | None = 0
    stdout: str | None = None
    stderr: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class Check:
    """A command, port or file with what is expected of it.

    `on` is a target, or "cluster": once, from the master. `within` is the deadline in seconds.
    """

    name: str
    on: str = "all"
    run: str | None = None
    port: int | None = None
    file: str | None = None
    expect: Expectation = Expectation()
    within: float = 30.0


@dataclass(frozen=True)
class RoleScript:
    """A script as it is run: the role it runs on ("all" or a role), its name, its bytes."""

    role: str
    name: str
    content: bytes


@dataclass(frozen=True)
class ScriptExpectation:
    """What a written script must do, whenever it runs.

    Args:
        exit: its exit status.
        stdout: a pattern that its output must match.
        test: a shell line that must exit 0 after it.
        timeout: seconds that it may take on a node, as may its test and its undo; None for as long as they like.

    """

    exit: int = 0
    stdout: str | None = None
    test: str | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class Machine:
    """A machine that exists.

    Args:
        host: its address, or the name by which SSH knows it.
        port: of its SSH server; None for what SSH's configuration says.
        host_key: the fingerprint of its host key (`SHA256:...`); None where the user's known hosts have the key.

    """

    host: str
    port: int | None = None
    host_key: str | None = None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Additions:
    """What a user's own Heat template adds to a cluster's stack; `source` is its file, or the folder of several."""

    source: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    resources: Mapping[str, object] = field(default_factory=dict)
    outputs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """What a cluster is, as a profile says it. `source` is the file, for messages.

    `machines` exist already, the head first; `ignored` says of keys of other tools why they mean nothing.
    """

    name: str
    source: str
    provider: str | None = None
    user: str = "cm"
    mesh: Mesh = "all"
    listen_to: ListenTo = "cluster"
    master: RoleSpec = RoleSpec(count=1)
    worker: RoleSpec = RoleSpec(count=2)
    plugins: tuple[PluginUse, ...] = ()
    scripts: tuple[RoleScript, ...] = ()
    checks: tuple[Check, ...] = ()
    machines: tuple[Machine, ...] = ()
    ignored: tuple[str, ...] = ()
    template: Additions | None = None


@dataclass(frozen=True)
class HostKeys:
    """The host keys of a node (`ssh-ed25519 AAAA...`), and who vouches for them; at "first use" nobody does."""

    keys: tuple[str, ...]
    source: HostKeySource


@dataclass(frozen=True)
class Node:
    """One machine of a cluster. `name` is its host name (`t-worker-1`), `index` 0 is the master.

    `host_key_from` is the `HostKeySource` of the pinned host keys; None as long as there are none.
    """

    name: str
    role: RoleName
    index: int
    state: str
    private_ip: str
    public_ip: str | None = None
    provider_id: str | None = None
    host_key_from: str | None = None

    @property
    def cluster(self) -> str:
        """The name of the cluster that the node belongs to."""
        return self.name.removesuffix(f"-{self.short_name}")

    @property
    def short_name(self) -> str:
        """The name inside the cluster: `master`, `worker-1`."""
        return "master" if self.role == "master" else f"worker-{self.index}"


@dataclass(frozen=True)
class Verdict:
    """What the last verification of a cluster found: when it ended (ISO 8601, UTC), and how many checks failed."""

    at: str
    checks: int
    failed: int


@dataclass(frozen=True)
class Cluster:
    """A cluster as the state knows it. `provider` is the name asked for; `created_at` is ISO 8601, UTC."""

    name: str
    state: str
    provider: str
    profile: str
    created_at: str
    nodes: tuple[Node, ...] = ()
    verdict: Verdict | None = None

    @property
    def standing(self) -> str:
        """The state in words: of an unhealthy cluster, how many checks failed."""
        if self.state != "unhealthy" or self.verdict is None:
            return self.state
        return f"unhealthy: {self.verdict.failed} of {self.verdict.checks} checks failed"

    @property
    def verified(self) -> str | None:
        """When the checks were last run (ISO 8601, UTC); None when they never were."""
        return self.verdict.at if self.verdict else None

    @property
    def master(self) -> Node:
        """The one node that is not a worker."""
        return next(node for node in self.nodes if node.role == "master")

    @property
    def workers(self) -> tuple[Node, ...]:
        """The workers in the order of their indices."""
        return tuple(node for node in self.nodes if node.role == "worker")


@dataclass(frozen=True)
class CommandResult:
    """What a command answered on a node. `exit` is -1 when there is no answer (unreachable, timed out)."""

    node: str
    exit: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the command exited 0."""
        return self.exit == 0


@dataclass(frozen=True)
class CheckResult:
    """What a check found on a node, against what was expected."""

    check: str
    node: str
    expected: str
    actual: str
    ok: bool
    seconds: float


@dataclass(frozen=True)
class CloudProject:
    """A project of a cloud: the same entry of `clouds.yaml` may mean another one tomorrow.

    Args:
        auth_url: where credentials are checked.
        region: of the cloud; empty where it has no names for them.
        id: the project's, which no other project has.
        name: the project's, for people.
        user_id: of the user whose credentials are used.

    """

    auth_url: str
    region: str
    id: str
    name: str = ""
    user_id: str = ""

    def __str__(self) -> str:
        """Return the project as messages name it."""
        region = f", region {self.region}" if self.region else ""
        return f"project {self.name or self.id} ({self.id}) of {self.auth_url}{region}"

    def is_elsewhere(self, here: CloudProject) -> bool:
        """Return whether what is in this project can't be in another one: its id differs, or the region."""
        other_region = bool(self.region and here.region) and self.region != here.region
        return self.id != here.id or other_region


@dataclass(frozen=True)
class Leftover:
    """Something that an undo could not remove, or that is there and should not be."""

    kind: str
    id: str
    remedy: str = ""


def node_names(cluster: str, workers: int) -> list[str]:
    """Return the host names of a cluster's nodes, master first."""
    return [f"{cluster}-master", *(f"{cluster}-worker-{i}" for i in range(1, workers + 1))]
