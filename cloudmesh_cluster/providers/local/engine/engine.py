"""Nodes of one cluster on this machine: the engine's public interface."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cloudmesh_cluster.providers.local.engine import dial, holder, launch, messages, node
from cloudmesh_cluster.providers.local.engine.console import read_console
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import Ids, ids_of_this_user
from cloudmesh_cluster.providers.local.engine.images import close_to_others
from cloudmesh_cluster.providers.local.engine.limits import Limits
from cloudmesh_cluster.providers.local.engine.processes import children_of, kill, marked_processes
from cloudmesh_cluster.providers.local.engine.rootfs import remove_contents
from cloudmesh_cluster.providers.local.engine.userns import ANCHOR

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_HARDWARE_ADDRESS = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_SETTINGS = "engine.json"
_LOCK = "engine.lock"
_SPEC = "spec.json"
_OWNED = ("disk", "drive")
_PATIENCE = 60.0
_AT_ONCE = 32


@dataclass(frozen=True)
class NodeSpec:
    """A node to start for the first time.

    Args:
        name: unique within the engine; its host name too, unless another one is given.
        address: its address with prefix, in the network of the engine ("10.88.0.2/16").
        layers: the read-only layers of its root file system, topmost first, below the engine's images folder.
        drive: a folder that becomes its config drive (holds `openstack/latest/...`); it is copied.
        memory_mib: the most memory it gets, in MiB; None: no limit.
        cpus: the most CPU it gets, in cores; None: no limit.
        hostname: its host name, which other nodes may have as well; None: its name.
        mac: the hardware address of its interface; None: one that follows from its address.

    """

    name: str
    address: str
    layers: tuple[Path, ...]
    drive: Path
    memory_mib: int | None = None
    cpus: float | None = None
    hostname: str | None = None
    mac: str | None = None

    def __post_init__(self) -> None:
        """Refuse names and addresses that are none."""
        for name in filter(None, (self.name, self.hostname)):
            if not _HOST_NAME.fullmatch(name):
                raise EngineError(f"{name!r} is no host name")
        if self.mac is not None and not _HARDWARE_ADDRESS.fullmatch(self.mac):
            raise EngineError(f"node {self.name}: {self.mac!r} is no hardware address")
        try:
            ipaddress.IPv4Interface(self.address)
        except ValueError as error:
            raise EngineError(f"node {self.name}: {error}") from error


@dataclass(frozen=True)
class Leftover:
    """Something of an engine that is still there: "process", "cgroup", "folder" or "file", and which."""

    kind: str
    id: str


class Engine:
    """The nodes of one cluster. It keeps no state of its own: all is in `folder` and in the processes.

    Args:
        folder: belongs to the engine alone; it is made (0700) when it's not there.
        images: the folder of the layers (`images.images_folder(cache)`).

    """

    def __init__(self, folder: Path, images: Path) -> None:
        self._folder = folder.absolute()
        self._images = images.absolute()
        self._nodes = self._folder / holder.NODES
        self._limits = Limits(self._folder)

    # --- the cluster as a whole ------------------------------------------------------------------------------

    def open(self, gateway: str | None = None, *, egress: bool = True, host_access: bool = False) -> str | None:
        """Make the network of the nodes, unless it is there already.

        Args:
            gateway: the address with prefix that this machine's side of the network gets ("10.88.0.1/16");
                None takes what the engine was opened with before.
            egress: whether nodes may reach beyond the network, where that is possible.
            host_access: whether they may then reach this machine's own addresses and 169.254.0.0/16, too.

        Returns:
            Why nodes have no way out, or None when they have.

        Raises:
            EngineError: this machine can't run nodes; the hint says what to change.

        """
        with self._lock():
            if (status := self._status()) is None:
                self.close()
                self._launch(self._settings(gateway, egress=egress, host_access=host_access))
                status = self._status()
        if status is None:
            raise EngineError("the engine has ended at once", f"look into {self._folder / holder.LOG}")
        reason: str | None = status["no_egress"]
        return reason

    def close(self) -> None:
        """End all nodes and the network between them; disks stay."""
        for pid in self._processes():
            kill(pid)
        (self._folder / holder.SOCKET).unlink(missing_ok=True)
        self._limits.remove_all()

    def running(self) -> dict[str, int]:
        """Return the process id, as this machine counts, of every running node's first process by name."""
        status = self._status()
        if status is None:
            return {}
        outside = {inside: pid for parent in self._processes() for inside, pid in children_of(parent).items()}
        return {name: outside[pid] for name, pid in status["nodes"].items() if pid in outside}

    def known(self) -> list[str]:
        """Return the names of all nodes that have a disk, running or not."""
        return sorted(spec.parent.name for spec in self._nodes.glob(f"*/{_SPEC}"))

    # --- single nodes ----------------------------------------------------------------------------------------

    def start(self, nodes: Iterable[NodeSpec | str]) -> list[str]:
        """Start nodes: new ones by their specification, those that have a disk by name.

        What is left of a node that was removed in part goes first: a new node has a fresh disk and an empty console.

        Returns:
            Warnings, each once: limits that can't be had here.

        Raises:
            EngineError: the engine isn't open, or some of the nodes can't be started (the others are).

        """
        warnings: dict[str, None] = {}
        answers: list[messages.Message] = []
        waiting = 0
        with self._conversation() as channel:
            for wanted in nodes:
                if waiting == _AT_ONCE:  # Or both sides would wait for room in the other's queue.
                    answers.append(messages.receive(channel)[0])
                    waiting -= 1
                new = isinstance(wanted, NodeSpec)
                spec = self._prepare(wanted) if isinstance(wanted, NodeSpec) else self._load(wanted)
                if warning := self._send_start(channel, spec, new=new):
                    warnings[warning] = None
                waiting += 1
            answers += [messages.receive(channel)[0] for _ in range(waiting)]
        if failed := [answer for answer in answers if "error" in answer]:
            listed = "; ".join(f"{answer['name']}: {answer['error']}" for answer in failed)
            raise EngineError(f"can't start {listed}", failed[0]["hint"])
        return list(warnings)

    def stop(self, names: Iterable[str]) -> None:
        """End nodes at once, like pulling the plug; their disks stay."""
        names = list(names)
        if self._status() is not None:
            with self._conversation() as channel:
                for name in names:
                    messages.send(channel, {"do": "stop", "name": name})
                    messages.receive(channel)
        for name in names:
            self._limits.remove(name)

    def destroy(self, names: Iterable[str]) -> None:
        """Stop nodes and remove their disks, consoles and limits; what is not there is no error."""
        names = list(dict.fromkeys(names))
        self.stop(names)
        self._remove([self._nodes / name for name in names if (self._nodes / name).is_dir()])
        self.stop(names)  # The holder may have had a start to do yet, which a killed client had asked for.

    def console(self, name: str) -> str:
        """Return what a node has printed since it was made, without the middle when it is long."""
        return read_console(self._nodes / name / node.CONSOLE)

    # --- what is left ----------------------------------------------------------------------------------------

    def leftovers(self) -> list[Leftover]:
        """Return all that belongs to this engine and is still there, however it came about."""
        found = [Leftover("process", str(pid)) for pid in self._processes()]
        found += [Leftover("cgroup", str(path)) for path in self._limits.existing()]
        found += [Leftover("folder", str(path)) for path in sorted(self._nodes.glob("*"))]
        names = (holder.SOCKET, _LOCK, holder.LOG, _SETTINGS, f".{_SETTINGS}", holder.NODES)
        files = (self._folder / name for name in names)
        return found + [Leftover("file", str(path)) for path in files if path.exists()]

    def cleanup(self) -> None:
        """Remove everything that `leftovers` finds; works on any half-made folder, and twice."""
        self.close()
        if self._nodes.is_dir():
            self._remove(list(self._nodes.iterdir()))
            self._nodes.rmdir()
        for name in (holder.LOG, _SETTINGS, f".{_SETTINGS}", _LOCK):
            (self._folder / name).unlink(missing_ok=True)

    # --- inside ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _conversation(self) -> Iterator[socket.socket]:
        with dial.holder(self._folder) as channel:
            channel.settimeout(_PATIENCE)
            try:
                yield channel
            except (EOFError, ConnectionError, TimeoutError) as error:
                raise EngineError(f"the engine doesn't answer ({error})", f"see {self._folder / holder.LOG}") from error

    def _status(self) -> messages.Message | None:
        try:
            with dial.holder(self._folder) as channel:
                messages.send(channel, {"do": "status"})
                return messages.receive(channel)[0]
        except (dial.NotRunning, EOFError, ConnectionError):
            return None

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        with (self._folder / _LOCK).open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _settings(self, gateway: str | None, *, egress: bool, host_access: bool) -> holder.Settings:
        self._nodes.mkdir(exist_ok=True)
        self._nodes.chmod(0o711)
        file = self._folder / _SETTINGS
        if file.exists():
            former = holder.Settings.from_json(file.read_text(encoding="utf-8"))
            gateway, ids = gateway or former.gateway, former.ids
        elif gateway is None:
            raise EngineError(f"{self._folder} has never been opened with a network")
        else:
            ids = ids_of_this_user()
        if self._images.is_dir():  # It may be from the days when everybody could walk there.
            close_to_others(self._images, ids)
        settings = holder.Settings(str(self._folder), str(self._images), gateway, ids, egress, host_access)
        _write_whole(file, settings.to_json())
        return settings

    def _ids(self) -> Ids:
        return self._former_ids() or ids_of_this_user()

    def _former_ids(self) -> Ids | None:
        try:
            text = (self._folder / _SETTINGS).read_text(encoding="utf-8")
            return holder.Settings.from_json(text).ids
        except (OSError, ValueError, KeyError):
            return None

    def _launch(self, settings: holder.Settings) -> None:
        done = subprocess.run(
            launch.command("holder", settings.to_json()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=launch.environment(self._folder),
            text=True,
            check=False,
        )
        try:
            answer = json.loads(done.stdout)
        except ValueError as error:
            raise EngineError(f"the engine can't be started: {done.stderr.strip()}") from error
        if "error" in answer:
            raise EngineError(f"the engine can't be started: {answer['error']}", answer["hint"])

    def _prepare(self, spec: NodeSpec) -> messages.Message:
        own = self._nodes / spec.name
        if (own / _SPEC).exists():
            raise EngineError(f"node {spec.name} has a disk already", "start it by name, or destroy it first")
        if own.is_dir():  # Half made or half removed: what a former node has left in it is its own.
            self._remove([own])
        root = self._ids().root
        own.mkdir()
        own.chmod(0o711)
        shutil.copytree(spec.drive, own / "drive")
        for name in ("disk", "disk/upper", "disk/work"):
            (own / name).mkdir()
            (own / name).chmod(0o755)
        (own / node.CONSOLE).touch(mode=0o600)
        for top in ("drive", "disk", node.CONSOLE):
            _give(own / top, root)
        layers = [str(layer.relative_to(self._images)) for layer in spec.layers]
        fields = {**asdict(spec), "layers": layers, "drive": ""}
        _write_whole(own / _SPEC, json.dumps(fields))
        return fields

    def _load(self, name: str) -> messages.Message:
        try:
            fields: messages.Message = json.loads((self._nodes / name / _SPEC).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise EngineError(f"node {name} has no disk here") from error
        return fields

    def _send_start(self, channel: socket.socket, spec: messages.Message, *, new: bool) -> str | None:
        name = spec["name"]
        opened, warning = self._limits.make(name, memory_mib=spec["memory_mib"], cpus=spec["cpus"])
        gateway = json.loads((self._folder / _SETTINGS).read_text(encoding="utf-8"))["gateway"].split("/")[0]
        request = {key: spec.get(key) for key in ("name", "address", "layers", "hostname", "mac")}
        try:
            messages.send(channel, {"do": "start", "new": new, "gateway": gateway, **request}, opened)
        finally:
            for descriptor in opened:
                os.close(descriptor)
        return warning

    def _remove(self, folders: list[Path]) -> None:
        for folder in folders:  # A node that is removed in part has no disk any more.
            (folder / _SPEC).unlink(missing_ok=True)
        owned = [f"{folder.name}/{part}" for folder in folders for part in _OWNED if (folder / part).is_dir()]
        if owned:
            paths = {"paths": [f"{ANCHOR}/nodes/{name}" for name in owned]}
            launch.run_inside(remove_contents, paths, ids=self._ids(), folders={"nodes": self._nodes})
        for folder in folders:
            shutil.rmtree(folder)

    def _processes(self) -> list[int]:
        return list(marked_processes(self._folder, self._former_ids()))


def _give(top: Path, owner: tuple[int, int]) -> None:
    """Give a file, or a folder with all that is in it, to a user and a group; links are not followed."""
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            os.chown(f"{folder}/{name}", *owner, follow_symlinks=False)
    os.chown(top, *owner, follow_symlinks=False)


def _write_whole(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(file)
