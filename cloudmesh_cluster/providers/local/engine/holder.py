"""The process that holds a cluster's user, network and mount namespace, and makes nodes in it.

It is the first process of a PID namespace of its own: when it ends, for whatever reason, the kernel ends every node.
It knows no secrets and keeps no state: what is not a running node is in the cluster's folder.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cloudmesh_cluster.providers.local.engine import egress, messages, node, syscalls, userns
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import Ids

SOCKET = "engine.sock"
LOG = "engine.log"
NODES = "nodes"
_OPEN_FILES = 65536
_AT_ONCE = 1024


@dataclass(frozen=True)
class Settings:
    """What a holder is started with: folder of the cluster, folder of the layers, bridge address, ids, ways out."""

    folder: str
    images: str
    gateway: str
    ids: Ids
    egress: bool
    host_access: bool = False

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        rows = (tuple(map(tuple, fields[kind])) for kind in ("uids", "gids"))
        ways = fields["egress"], fields.get("host_access", False)
        return cls(fields["folder"], fields["images"], fields["gateway"], Ids(*rows), *ways)

    def to_json(self) -> str:
        """Return the settings as JSON."""
        ids = {"uids": self.ids.uids, "gids": self.ids.gids}
        return json.dumps({key: value for key, value in vars(self).items() if key != "ids"} | ids)


def main(arguments: list[str]) -> int:
    """Start a holder in the background; print `{"pid": N}` or `{"error":, "hint":}` when it is there or not."""
    settings = Settings.from_json(arguments[0])
    os.chdir(settings.folder)
    answer = os.dup(1)
    try:
        _become_daemon()
        listener = _listen()
        way_out = egress.WayOut(settings.gateway, wanted=settings.egress, host_access=settings.host_access)
        folders = {"nodes": Path(settings.folder, NODES), "images": Path(settings.images)}
        namespaces = syscalls.CLONE_NEWNET | syscalls.CLONE_NEWPID
        userns.enter(settings.ids, namespaces, folders=folders, behind=way_out.stay_behind)
    except (EngineError, OSError) as error:
        node.report(error, answer)
        return 1
    return _hold(listener, settings.gateway, way_out, answer)


def _become_daemon() -> None:
    os.setsid()
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.umask(0o022)
    # Sessions often start with 1024; servers of all kinds want more, and nodes inherit it.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


def _listen() -> socket.socket:
    Path(SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(SOCKET)
    os.chmod(SOCKET, 0o600)
    return listener


def _hold(listener: socket.socket, gateway: str, way_out: egress.WayOut, answer: int) -> int:
    # The first child is the first process of the new PID namespace. Its parent, whose id slirp4netns was given,
    # has to stay until the network is complete.
    done, is_done = os.pipe()
    pid = os.fork()
    if pid:
        os.close(is_done)
        failed = os.read(done, 65536)
        os.write(answer, failed or json.dumps({"pid": pid}).encode())
        return 1 if failed else 0
    os.close(answer)
    os.close(done)
    try:
        os.chdir("/")
        _make_bridge(gateway)
        way_out.open()
        running = Holder(listener, way_out)
        listener.listen(_AT_ONCE)
    except Exception as error:  # noqa: BLE001  (whatever it is, the one who waits is told)
        node.report(error, is_done)
        os._exit(1)
    try:
        os.close(is_done)
        running.serve()
    finally:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def _make_bridge(gateway: str) -> None:
    node.run_ip(
        "link set lo up",
        f"link add {egress.BRIDGE} type bridge forward_delay 0",
        f"addr add {gateway} dev {egress.BRIDGE}",
        f"link set {egress.BRIDGE} up",
    )


@dataclass
class _Running:
    pid: int
    link: str


class Holder:
    """Serves requests until it is killed."""

    def __init__(self, listener: socket.socket, way_out: egress.WayOut) -> None:
        self._listener = listener
        self._way_out = way_out
        self._nodes: dict[str, _Running] = {}
        self._links = 0
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Answer requests, one after the other, and take in the dead."""
        wake, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(wake, selectors.EVENT_READ, lambda: self._reap(wake))
        self._selector.register(self._way_out.watch, selectors.EVENT_READ, self._way_out.refresh)
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _accept(self) -> None:
        channel, _ = self._listener.accept()
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._answer(channel))

    def _answer(self, channel: socket.socket) -> None:
        try:
            request, descriptors = messages.receive(channel)
        except (EOFError, ConnectionError):
            self._forget(channel)
            return
        try:
            self._do(channel, request, descriptors)
        except (EngineError, OSError, KeyError, TypeError, ValueError) as error:
            # A request that another version of this program has sent must not end the nodes.
            hint = error.hint if isinstance(error, EngineError) else ""
            self._reply(channel, {"name": request.get("name"), "error": str(error), "hint": hint})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _do(self, channel: socket.socket, request: messages.Message, descriptors: list[int]) -> None:
        do = request["do"]
        if do == "socket":
            with socket.socket() as fresh:
                messages.send(channel, {}, [fresh.fileno()])
        elif do == "status":
            nodes = {name: running.pid for name, running in self._nodes.items()}
            self._reply(channel, {"nodes": nodes, "no_egress": self._way_out.reason})
        elif do == "start":
            self._start_node(channel, request, descriptors)
        elif do == "stop":
            self._stop_node(request["name"])
            self._reply(channel, {})
        else:
            raise EngineError(f"unknown request {do!r}")

    def _reply(self, channel: socket.socket, message: messages.Message) -> None:
        try:
            messages.send(channel, message)
        except OSError:
            self._forget(channel)  # The client is gone; its next call will ask again.

    def _forget(self, channel: socket.socket) -> None:
        if channel.fileno() >= 0:
            self._selector.unregister(channel)
            channel.close()

    def _start_node(self, channel: socket.socket, request: messages.Message, descriptors: list[int]) -> None:
        if request.get("new"):  # Somebody has killed the one who removed a former node of this name.
            self._stop_node(request["name"])
        if request["name"] in self._nodes:
            self._reply(channel, {"name": request["name"]})
            return
        birth = node.Birth(
            name=request["name"],
            address=request["address"],
            gateway=request["gateway"],
            layers=tuple(request["layers"]),
            nameserver=self._way_out.nameserver,
            hostname=request.get("hostname") or request["name"],
            mac=request.get("mac"),
        )
        self._links += 1
        link = f"node{self._links}"
        labour = _Labour(birth, descriptors)
        pid = self._fork_into_new_pid_namespace(labour.child)
        running = self._nodes[birth.name] = _Running(pid, link)
        labour.attach(pid, link)
        born = partial(self._born, channel, birth.name, running, labour)
        self._selector.register(labour.outcome, selectors.EVENT_READ, born)

    def _born(self, channel: socket.socket, name: str, running: _Running, labour: _Labour) -> None:
        self._selector.unregister(labour.outcome)
        failure = labour.failure()
        if failure and self._nodes.get(name) is running:
            self._stop_node(name)
        self._reply(channel, {"name": name, **failure})

    def _fork_into_new_pid_namespace(self, child: Callable[[], None]) -> int:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        try:
            pid = os.fork()
            if pid == 0:
                child()
        finally:
            syscalls.setns(self._own_pid_namespace, syscalls.CLONE_NEWPID)
        return pid

    def _stop_node(self, name: str) -> None:
        running = self._nodes.pop(name, None)
        if running is None:
            return
        os.kill(running.pid, signal.SIGKILL)
        os.waitpid(running.pid, 0)
        # The kernel removes a dead namespace's links by and by; a new node may want the address at once.
        try:
            node.run_ip(f"link del {running.link}")
        except EngineError:
            return

    def _reap(self, wake: int) -> None:
        os.read(wake, 4096)
        for name, running in list(self._nodes.items()):
            if os.waitpid(running.pid, os.WNOHANG)[0]:
                del self._nodes[name]


class _Labour:
    """The pipes by which holder and node meet while the node is being born."""

    def __init__(self, birth: node.Birth, cgroups: list[int]) -> None:
        self._birth = birth
        self._cgroups = cgroups
        self._ready, self._is_ready = os.pipe()
        self._linked, self._is_linked = os.pipe()
        self.outcome, self._failed = os.pipe()
        self._error = ""

    def child(self) -> None:
        """Be the node; never returns."""
        try:
            for descriptor in (self._ready, self._is_linked, self.outcome):
                os.close(descriptor)
            signal.set_wakeup_fd(-1)
            # Python ignores some, and whoever started cm others: a shell's background job has no SIGINT.
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            node.become(self._birth, cgroups=self._cgroups, ready=self._is_ready, linked=self._linked)
        except Exception as error:  # noqa: BLE001  (silence would mean that the node lives)
            node.report(error, self._failed)
        finally:
            os._exit(1)

    def attach(self, pid: int, link: str) -> None:
        """Give the child its interface as soon as it has its network namespace."""
        for descriptor in (self._is_ready, self._linked, self._failed):
            os.close(descriptor)
        try:
            if os.read(self._ready, 1):
                mtu, bridge = egress.MTU, egress.BRIDGE
                node.run_ip(
                    f"link add {link} mtu {mtu} up master {bridge} type veth peer name eth0 mtu {mtu} netns {pid}"
                )
                os.write(self._is_linked, b"x")
        except (EngineError, BrokenPipeError) as error:
            # Perhaps only because the child is dead already; it knows better, then.
            self._error = f"the node's network interface can't be made: {error}"
        finally:
            os.close(self._ready)
            os.close(self._is_linked)

    def failure(self) -> messages.Message:
        """Return what went wrong, or nothing when the node's init runs."""
        text = os.read(self.outcome, 65536)
        os.close(self.outcome)
        if text:
            return dict(json.loads(text))
        return {"error": self._error, "hint": ""} if self._error else {}
