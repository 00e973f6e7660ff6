"""Every machine looked at before any is touched: what is in the way, each with the line to type against it."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.core.model import Machine, Problem, RoleSpec
from cloudmesh_cluster.nodes.boot_steps import inspect_machine
from cloudmesh_cluster.providers.baremetal.login import Login, NoLogin, log_in, run, text
from cloudmesh_cluster.providers.baremetal.ports import Listening, try_ports
from cloudmesh_cluster.providers.baremetal.settings import Settings

CLOCK_TOLERANCE = 5.0
LEAST_DISK = 256
LEAST_MEMORY = 256
LEAST_PYTHON = (3, 6)
AT_ONCE = 64
_OPEN_TO_OTHERS = 0o022


@dataclass(frozen=True)
class Wanted:
    """A machine that a cluster is to have, and what is wanted of it.

    Args:
        machine: which.
        name: of the node that it becomes, without the cluster's.
        spec: the size of its role.
        ports: TCP ports that plugins will serve there.

    """

    machine: Machine
    name: str
    spec: RoleSpec
    ports: tuple[int, ...] = ()

    @property
    def where(self) -> str:
        """The machine in messages."""
        return f"machine {self.machine} ({self.name})"


@dataclass
class Found:
    """What came of looking at a machine: `facts` by name, those of disks and modes in mappings of their own."""

    wanted: Wanted
    login: Login | None = None
    facts: dict[str, str] = field(default_factory=dict)
    offset: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def report(self, what: str, hint: str) -> None:
        """Add what is in the way."""
        self.problems.append(Problem(self.wanted.where, what, hint))

    def warn(self, what: str) -> None:
        """Add what should be known."""
        self.warnings.append(f"{self.wanted.where}: {what}")


async def inspect(
    wanted: Sequence[Wanted],
    settings: Settings,
    *,
    cluster: Marks | None = None,
    needs_apt: bool = False,
    closes: bool = False,
    trust_on_first_use: bool = False,
) -> tuple[list[Problem], list[str]]:
    """Look at all machines at once; change nothing.

    Args:
        wanted: the machines.
        settings: how they are reached.
        cluster: to which they may belong already; None for a cluster that is yet to be made.
        needs_apt: whether Debian packages will be installed.
        closes: whether services are to be kept to the nodes of the cluster.
        trust_on_first_use: whether a host key that nobody knows is no obstacle.

    Returns:
        What is in the way, machine by machine, and what should be known.

    """
    places = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack:

        async def look(each: Wanted) -> Found:
            async with places:
                found = await _look(each, settings, trust_on_first_use=trust_on_first_use)
            if found.login is not None:
                stack.callback(found.login.connection.abort)
            return found

        founds = await asyncio.gather(*(look(each) for each in wanted))
        for found in founds:
            if found.facts:
                _judge(found, cluster=cluster, needs_apt=needs_apt)
                if closes:
                    _judge_firewall(found)
        _compare_users(founds)
        there = [found for found in founds if found.login is not None and found.facts]
        listening = [Listening(f.login, f.wanted.where, f.wanted.ports) for f in there if f.login is not None]
        blocked = await try_ports(listening)
    problems = [problem for found in founds for problem in found.problems]
    return [*problems, *blocked], [warning for found in founds for warning in found.warnings]


async def _look(wanted: Wanted, settings: Settings, *, trust_on_first_use: bool) -> Found:
    found = Found(wanted)
    try:
        found.login = await log_in(wanted.machine, settings, trust_on_first_use=trust_on_first_use)
        step, before = inspect_machine(), time.time()
        done = await run(found.login, step.command, step.stdin)
        found.offset = -(before + time.time()) / 2
    except NoLogin as error:
        found.report(error.message, _way_in(error, wanted.machine, settings))
        return found
    found.facts = dict(re.findall(r"^([^=\n]+)=(.*)$", text(done.stdout), re.MULTILINE))
    if "time" not in found.facts:
        last = (text(done.stderr).strip() or "no output").splitlines()[-1]
        found.report(f"no shell answers: {last}", "cm needs bash and the usual tools there")
        found.facts = {}
    else:
        found.offset += float(found.facts["time"])
    return found


def _way_in(error: NoLogin, machine: Machine, settings: Settings) -> str:
    """Return what to type against an obstacle to a login."""
    port = f" -p {machine.port}" if machine.port else ""
    at = f"{settings.user}@{machine.host}"
    bracketed = f"[{machine.host}]:{machine.port}" if machine.port else machine.host
    key = f" -i {settings.private_key}" if settings.private_key else ""
    if error.obstacle == "unknown host key":
        return (
            f"there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; if it says {error.presented}, here:"
            f" ssh-keyscan{port} {machine.host} >> ~/.ssh/known_hosts; or write host_key: '{error.presented}' beside"
            " the machine in the profile; or, least safe: --trust-on-first-use"
        )
    if error.obstacle == "changed host key":
        shown = f" (it shows {error.presented})" if error.presented else ""
        return f"if it was made anew{shown}: ssh-keygen -R '{bracketed}', then ssh-keyscan{port} {machine.host}"
    if error.obstacle == "denied" and not error.hint:
        return (
            f"ssh-copy-id{key}{port} {at}; when the key is there already, sshd refuses files that others may write:"
            f" chmod go-w ~{settings.user} ~{settings.user}/.ssh; chmod 600 ~{settings.user}/.ssh/authorized_keys"
        )
    if error.obstacle == "closed":
        return f"try: ssh{port} {at}; there: sudo systemctl start ssh, and open the port in its firewall"
    return error.hint or f"try: ssh{port} {at}"


def _judge(found: Found, *, cluster: Marks | None, needs_apt: bool) -> None:
    """Say what of a machine's facts is in the way."""
    facts, user = found.facts, found.facts["user"]
    if facts.get("sudo") != "ok":
        line = f"'{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/{user}"
        found.report(f"{user} can't use sudo without a password: {facts.get('sudo')}", f"there: echo {line}")
    if abs(found.offset) > CLOCK_TOLERANCE:
        fix = "there: sudo timedatectl set-ntp true, or sudo chronyc makestep"
        found.report(f"its clock is {found.offset:+.0f} s off", fix)
    if (owner := _owner(facts)) is not None and owner != cluster:
        where = f"cm cluster delete {owner.cluster}, where that was made"
        found.report(f"it belongs to cluster {owner.cluster!r}", where)
    if lacks := [value for name, value in found.facts.items() if name.startswith("lacks")]:
        found.report(f"it lacks {', '.join(lacks)}", "install the packages that have them")
    if needs_apt and facts.get("apt") == "no":
        found.report("it has no apt-get, by which plugins install packages", "use a plugin that needs no packages")
    if locked := facts.get("locked"):
        what = f"{locked} has a passphrase, and nodes log in to each other with it"
        found.report(what, f"there: mv {locked} {locked}.own, or mesh: none in the profile")
    _judge_modes(found)
    _judge_size(found)
    _judge_rest(found)


def _owner(facts: Mapping[str, str]) -> Marks | None:
    """Return whose machine it is: the mark is "CLUSTER NODE USER ID", without an id where an older version wrote it."""
    words = facts.get("taken", "").split()
    return Marks(words[0], words[3] if len(words) > 3 else "") if words else None


def _judge_firewall(found: Found) -> None:
    """Say what becomes of the services' firewall, and of one that is there."""
    facts = found.facts
    without = "or let everybody in who reaches the machine: listen_to: network in the profile"
    if "nft" not in facts and facts.get("apt") == "no":
        found.report("it has no nft, which keeps services to the cluster", f"there: install nftables, {without}")
    elif "nft" not in facts:
        found.warn("nftables is installed with the plugins: it keeps their services to the cluster")
    elif facts["nft"] != "ok":
        what = f"nft, which keeps services to the cluster, does not work: {facts['nft']}"
        found.report(what, f"there: sudo modprobe nf_tables, {without}")
    if other := facts.get("firewall"):
        found.warn(f"{other} is at work and stays as it is: cm's own table beside it refuses, and opens nothing")


def _judge_modes(found: Found) -> None:
    for name, mode in found.facts.items():
        if name.startswith("mode ") and int(mode, 8) & _OPEN_TO_OTHERS:
            path = name.removeprefix("mode ")
            fix = "chmod 600" if path.endswith("authorized_keys") else "chmod go-w"
            found.report(f"{path} is open to others (mode {int(mode, 8):04o})", f"there: {fix} {path}")


def _judge_size(found: Found) -> None:
    facts, spec = found.facts, found.wanted.spec
    full = [
        f"{name.removeprefix('disk ')} {free} MiB"
        for name, free in facts.items()
        if name.startswith("disk ") and free.isdigit() and int(free) < LEAST_DISK
    ]
    if full:
        what = f"disk full: {', '.join(full)} free, {LEAST_DISK} MiB are the least"
        found.report(what, f"there: df -h; sudo du -xh --max-depth=2 {full[0].split()[0]} | sort -h | tail")
    memory, cores = int(facts.get("memory") or 0), int(facts.get("cores") or 0)
    if memory < (least := spec.memory or LEAST_MEMORY):
        found.report(f"{memory} MiB of memory, {least} are wanted", "take a larger machine, or set roles.*.memory")
    if spec.cpus is not None and cores < spec.cpus:
        found.report(f"{cores} cores, {spec.cpus:g} are wanted", "take a larger machine, or set roles.*.cpus")


def _judge_rest(found: Found) -> None:
    facts = found.facts
    version = tuple(int(part) for part in facts.get("python", "").split(".") if part)
    if version < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        found.warn(f"no Python {least} or newer, so that ports are not tried (there: sudo apt-get install python3)")
    if facts.get("selinux") == "Enforcing":
        found.warn("SELinux is enforcing, and stays so (if a plugin fails: sudo ausearch -m avc -ts recent)")
    if not facts.get("resolves"):
        name = facts.get("hostname", "")
        found.warn(f"it can't resolve its own name {name!r} (there: echo 127.0.1.1 {name} | sudo tee -a /etc/hosts)")


def _compare_users(founds: Sequence[Found]) -> None:
    """Warn where the login user has another number than on most machines: files on shared disks would not be theirs."""
    numbers: Mapping[str, int] = Counter(found.facts["uid"] for found in founds if found.facts)
    if len(numbers) > 1:
        most = max(numbers, key=lambda number: numbers[number])
        for found in founds:
            if found.facts and found.facts["uid"] != most:
                found.warn(f"user {found.facts['user']} is number {found.facts['uid']}, elsewhere {most}")
