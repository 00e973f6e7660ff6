"""Remote execution, against a real OpenSSH server on the loopback."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import pytest

from cloudmesh_cluster.core.errors import HostKeyMismatch, LoginDenied, Unreachable, UsageError
from cloudmesh_cluster.core.model import CommandResult, Node
from cloudmesh_cluster.nodes import keys
from cloudmesh_cluster.ssh.command import OUTPUT_LIMIT, Output, framed
from cloudmesh_cluster.ssh.connections import Connections, command_line
from cloudmesh_cluster.ssh.files import tarball
from tests.conftest import refuse

NODE = Node("t-master", "master", 0, "running", "127.0.0.1")
NODES = [NODE, *(Node(f"t-worker-{i}", "worker", i, "running", "127.0.0.1") for i in range(1, 6))]
T = TypeVar("T")

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


class Server:
    """A server of the current user, with a host key and a login key of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.login = keys.generate("login")
        host = keys.generate("host")
        self.host_key = host.public
        keys.write_private(folder / "host_key", host.private)
        self.accept(self.login.public)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (folder / "config").write_text(CONFIG.format(port=self.port, folder=folder))
        self.process: subprocess.Popen[bytes] | None = None
        self.dialled = 0

    def accept(self, public: str) -> None:
        """Accept one key and no other."""
        (self.folder / "authorized_keys").write_text(public + "\n")

    def start(self) -> None:
        """Start it; it answers a moment later."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [shutil.which("sshd", path="/usr/sbin:/usr/bin") or "sshd", "-D", "-e", "-f", self.folder / "config"],
                stderr=log,
            )

    def answers(self) -> bool:
        """Return whether it accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Stop it; sessions that are open stay."""
        if self.process:
            self.process.terminate()
            self.process.wait()

    async def dial(self, node: Node) -> socket.socket:
        """Return a connection to it; all nodes of these tests are this server."""
        self.dialled += 1
        loop = asyncio.get_running_loop()
        connected = socket.socket()
        connected.setblocking(False)
        try:
            await loop.sock_connect(connected, (node.private_ip, self.port))
        except BaseException:
            connected.close()
            raise
        return connected

    def connections(self, **changes: Any) -> Connections:
        """Return connections to it."""
        return Connections(
            self.dial,
            **{
                "user": getpass.getuser(),
                "login_key": self.login.private,
                "host_keys": {node.name: [self.host_key] for node in NODES},
                **changes,
            },
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running server."""
    if shutil.which("sshd", path="/usr/sbin:/usr/bin") is None:
        refuse("no sshd here: install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root insists on it
    made = Server(tmp_path_factory.mktemp("sshd"))
    made.start()
    while not made.answers():
        time.sleep(0.05)
    yield made
    made.stop()


def with_connections(server: Server, work: Callable[[Connections], Coroutine[Any, Any, T]], **changes: Any) -> T:
    """Run `work` with connections to the server, all of them closed afterwards."""

    async def session() -> T:
        async with server.connections(**changes) as connections:
            await connections.connect(NODE, within=10)
            return await work(connections)

    return asyncio.run(session())


def run(server: Server, line: str, **options: Any) -> CommandResult:
    """Run one line on the server."""
    return with_connections(server, lambda connections: connections.run(NODE, line, **options))


def test_the_host_key_that_is_shown(server: Server) -> None:
    """Who does not know a node is told the key that it shows, with its fingerprint, without a login."""

    async def shown() -> tuple[str, str]:
        async with server.connections(host_keys={}) as connections:
            return await connections.shown_host_key(NODE, within=10)

    key, fingerprint = asyncio.run(shown())

    assert key.split()[:2] == server.host_key.split()[:2]
    assert fingerprint == asyncssh.import_public_key(server.host_key).get_fingerprint()


def test_nobody_shows_a_host_key(server: Server) -> None:
    """A node that does not answer in time is unreachable, and the reason is told."""
    silent = replace(NODE, private_ip="127.0.0.9")

    with pytest.raises(Unreachable, match=r"Errno 111.*tried for 1 s"):
        with_connections(server, lambda connections: connections.shown_host_key(silent, within=1))


def test_answer_of_a_command(server: Server) -> None:
    """Exit status, both streams and the time come back; what is no UTF-8 is replaced."""
    result = run(server, "echo out; echo err >&2; printf '\\377' ; exit 3")

    assert (result.node, result.exit, result.stdout, result.stderr) == ("t-master", 3, "out\n\ufffd", "err\n")
    assert 0 < result.seconds < 10


def test_input_reaches_the_command(server: Server, tmp_path: Path) -> None:
    """Input is bytes or a file, of any size, and ends; without any there is none."""
    big = os.urandom(3_000_000)
    (tmp_path / "big").write_bytes(big)

    assert run(server, "cat", stdin=b"x\n").stdout == "x\n"
    assert run(server, "wc -c", stdin=tmp_path / "big").stdout.strip() == "3000000"
    assert run(server, "cat").stdout == ""
    assert run(server, "true", stdin=big).exit == 0


def test_words_arrive_as_they_are(server: Server) -> None:
    """One word is a shell line; several are an argument vector, whatever they hold."""
    words = ["printf", "[%s]", "a b", "it's", '"', "$HOME", "*", ";", ""]

    assert run(server, command_line(["echo $((1 + 1))"])).stdout == "2\n"
    assert run(server, command_line(words)).stdout == "[a b][it's][\"][$HOME][*][;][]"


def test_lines_come_while_the_command_runs(server: Server) -> None:
    """Each line is told when it is printed, a last one without a newline too."""
    lines: list[tuple[str, str, float]] = []
    started = time.monotonic()

    result = run(
        server,
        "echo one; sleep 1; echo two >&2; printf three",
        on_line=lambda stream, line: lines.append((stream, line, time.monotonic() - started)),
    )

    assert [line[:2] for line in lines] == [("stdout", "one"), ("stderr", "two"), ("stdout", "three")]
    assert lines[1][2] - lines[0][2] > 0.8
    assert (result.stdout, result.stderr) == ("one\nthree", "two\n")


def test_a_line_that_is_drawn_again_is_told_as_it_ends() -> None:
    """What a program has drawn over, as its progress, is told no more than a terminal would show it; it is kept."""
    lines = []
    output = Output("stdout", lambda _, line: lines.append(line))
    output.feed(b"reading 5%\rreading 100%\r\ndone\r\n")

    assert lines == ["reading 100%", "done"]
    assert output.text().startswith("reading 5%\rreading 100%")


def test_long_output_is_cut_at_its_head() -> None:
    """The end of a long output is kept, and what is left out is counted."""
    output = Output("stdout", None)
    for _ in range(300):
        output.feed(b"x" * 100_000)
    output.feed(b"end\n")

    text = output.text()

    assert text.endswith("xend\n")
    assert text.startswith(f"[{300 * 100_000 + 4 - OUTPUT_LIMIT} bytes before this are left out]\n")


def test_killed_command_says_so(server: Server) -> None:
    """A command that a signal ended has the exit status that a shell gives, and the signal's name."""
    result = run(server, "kill -KILL $$")

    assert (result.exit, result.stderr) == (137, "killed by SIGKILL\n")


def test_timeout_kills_on_the_node(server: Server, tmp_path: Path) -> None:
    """A command past its time has exit -1 with the reason, and nothing of it goes on."""
    pids = tmp_path / "pids"

    result = run(server, f"echo before; (sleep 300 & echo $! >{pids}; wait)", timeout=3)

    # Before the reason may stand what the shell still says of its killed child.
    assert (result.exit, result.stdout) == (-1, "before\n")
    assert result.stderr.removeprefix("Terminated\n") == "timed out after 3 s\n"
    assert 3 <= result.seconds < 300
    assert is_dead(pids.read_text().strip())


def test_cancel_kills_on_the_node(server: Server, tmp_path: Path) -> None:
    """A cancelled command doesn't go on, not even one that ignores TERM."""
    pids = tmp_path / "pids"

    async def work(connections: Connections) -> None:
        line = f"trap '' TERM; echo $$ >{pids}; sleep 300; sleep 300"
        task = asyncio.create_task(connections.run(NODE, line))
        await asyncio.to_thread(wait_for_text, pids)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with_connections(server, work)

    assert is_dead(pids.read_text().strip())


def wait_for_text(file: Path) -> None:
    """Wait until a file has a content."""
    while not file.exists() or not file.read_text():
        time.sleep(0.05)


def is_dead(pid: str) -> bool:
    """Return whether a process has ended (or soon does), be it that nobody has buried it yet."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("Z"):
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_background_process_is_not_waited_for(server: Server) -> None:
    """A daemon that keeps the output open doesn't hold up the answer; output that comes late does."""
    daemon = run(server, "sleep 20 & echo started; exit 4")
    slow = run(server, "(sleep 0.6; echo one; sleep 0.6; echo two) & exit 0")

    assert (daemon.exit, daemon.stdout, daemon.stderr) == (4, "started\n", "")
    assert daemon.seconds < 10
    assert slow.stdout == "one\ntwo\n"


def test_one_connection_for_all_commands(server: Server) -> None:
    """Commands on a node share one connection, also those that run at once, more than sshd takes sessions."""
    before = server.dialled

    async def work(connections: Connections) -> list[CommandResult]:
        return await asyncio.gather(*(connections.run(NODE, f"echo {i}") for i in range(30)))

    results = with_connections(server, work)

    assert [result.stdout for result in results] == [f"{i}\n" for i in range(30)]
    assert server.dialled == before + 1


def test_all_nodes_in_their_order(server: Server) -> None:
    """Answers come in the order of the nodes, not of their arrival."""
    line = "sleep 0.$((RANDOM % 5)); echo x"
    results = with_connections(server, lambda connections: connections.run_all(NODES, line))

    assert [(result.node, result.stdout) for result in results] == [(node.name, "x\n") for node in NODES]


def test_dead_node_fails_alone(server: Server) -> None:
    """A node that doesn't answer has exit -1 with the reason; the others are not touched by that."""
    lost = Node("t-worker-9", "worker", 9, "running", "127.0.0.1")

    results = with_connections(server, lambda connections: connections.run_all([NODE, lost], "echo x"))

    assert [result.exit for result in results] == [0, -1]
    assert results[1].stderr == "no host key of it is known\n"


def test_lost_connection_is_no_answer(server: Server) -> None:
    """When the connection breaks the result says so; the next command connects again."""

    async def work(connections: Connections) -> tuple[CommandResult, CommandResult]:
        broken = await connections.run(NODE, "kill -KILL $PPID; sleep 5")
        return broken, await connections.run(NODE, "echo again")

    broken, again = with_connections(server, work)

    assert (broken.exit, again.exit, again.stdout) == (-1, 0, "again\n")
    assert "the connection was lost" in broken.stderr


def test_other_host_key_is_fatal_at_once(server: Server) -> None:
    """A machine that isn't the pinned one gets no second attempt, no matter how much time is left."""
    other = {NODE.name: [keys.generate("x").public]}
    started, before = time.monotonic(), server.dialled

    with pytest.raises(HostKeyMismatch, match="t-master is not reachable: its host key is not the pinned one"):
        with_connections(server, lambda connections: connections.connect(NODE, within=60), host_keys=other)

    assert (server.dialled - before, time.monotonic() - started < 5) == (1, True)


def test_denied_login_is_fatal_past_its_grace(server: Server) -> None:
    """A key that isn't accepted is fatal at once; with a grace it is tried until the user is there."""
    stranger = keys.generate("stranger")

    async def work(grace: float) -> None:
        async with server.connections(login_key=stranger.private) as connections:
            await connections.connect(NODE, within=60, login_grace=grace)

    async def granted_later() -> None:
        task = asyncio.create_task(work(20))
        await asyncio.sleep(0.5)
        assert not task.done()
        server.accept(stranger.public)
        await task

    with pytest.raises(LoginDenied, match="is not let in"):
        asyncio.run(work(0))
    try:
        asyncio.run(granted_later())
    finally:
        server.accept(server.login.public)


def test_node_is_waited_for(tmp_path: Path) -> None:
    """Connections that are refused are tried again until the server is up, or until the time is over."""
    late = Server(tmp_path)

    async def work() -> str:
        async with late.connections() as connections:
            with pytest.raises(Unreachable, match=r"Connect call failed .* \(tried for 1 s\)"):
                await connections.connect(NODE, within=1)
            task = asyncio.create_task(connections.connect(NODE, within=20))
            await asyncio.sleep(0.5)
            late.start()
            await task
            return (await connections.run(NODE, "echo up")).stdout

    try:
        assert asyncio.run(work()) == "up\n"
    finally:
        late.stop()


def test_push_is_whole_or_not_at_all(server: Server, tmp_path: Path) -> None:
    """A file arrives with its mode, in folders that are made, over an older one; no temporary file is left."""
    content = os.urandom(1_000_000)
    (tmp_path / "source").write_bytes(content)
    target = tmp_path / "new folder" / "it's here"

    async def work(connections: Connections) -> list[CommandResult]:
        return [
            await connections.push(NODE, b"old", str(target), mode=0o600),
            await connections.push(NODE, tmp_path / "source", str(target), mode=0o750),
            await connections.push(NODE, tmp_path / "source", str(target.parent)),
            await connections.push(NODE, b"x", "/proc/no/such"),
        ]

    results = with_connections(server, work)

    assert [result.ok for result in results] == [True, True, True, False]
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (content, 0o750)
    assert (target.parent / "source").read_bytes() == content
    assert sorted(file.name for file in target.parent.iterdir()) == ["it's here", "source"]


def test_archive_is_unpacked(server: Server, tmp_path: Path) -> None:
    """Many files arrive in one go, each with its mode."""
    archive = tarball({"all.sh": (b"#!/bin/sh\n", 0o755), "files/a.conf": (b"a", 0o644)})

    result = with_connections(server, lambda connections: connections.unpack(NODE, archive, str(tmp_path / "p q")))

    assert result.ok
    assert (tmp_path / "p q/all.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "p q/files/a.conf").read_text() == "a"


def test_fetch_overwrites_nothing(server: Server, tmp_path: Path) -> None:
    """A file comes whole; an existing one stays as it is, and a failed one leaves nothing."""
    content = os.urandom(3_000_000)
    (tmp_path / "remote").write_bytes(content)
    local = tmp_path / "local"

    def fetch(remote: Path) -> CommandResult:
        return with_connections(server, lambda connections: connections.fetch(NODE, str(remote), local))

    assert fetch(tmp_path / "missing").exit == 1
    for endless in (Path("/dev/zero"), tmp_path):
        assert f"{endless} is not a regular file\n" in fetch(endless).stderr
    assert not local.exists()
    assert fetch(tmp_path / "remote").ok
    assert local.read_bytes() == content
    with pytest.raises(UsageError, match="nothing is overwritten"):
        fetch(tmp_path / "remote")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["local", "remote"]


def test_unreadable_input_stops_the_command(server: Server, tmp_path: Path) -> None:
    """A local file that can't be read is the caller's error, and no half-fed command stays."""
    with pytest.raises(UsageError, match="can't read .*missing: No such file"):
        run(server, f"cat; touch {tmp_path}/went-on", stdin=tmp_path / "missing")
    with pytest.raises(UsageError, match="can't read .*: Is a directory"):
        with_connections(server, lambda connections: connections.push_many(NODES, tmp_path, str(tmp_path / "x")))
    assert not (tmp_path / "went-on").exists()


def test_users_own_configuration_has_no_say(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ~/.ssh nor an agent is looked at."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host *\n  User nobody\n  ProxyCommand false\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "no-agent"))

    assert run(server, "echo x").stdout == "x\n"


CONNECT = """import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20) as peer:
    peer.settimeout(20)
    peer.sendall(b"hello")
    peer.shutdown(socket.SHUT_WR)
    print(peer.recv(100).decode())"""


def through_tunnel(server: Server, **options: Any) -> tuple[str, list[bytes], list[int | None]]:
    """Return what a process of some user gets through a tunnel to an echo, what the echo got, and who was refused."""
    got: list[bytes] = []
    refused: list[int | None] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        writer.write(got[-1])
        writer.close()

    async def work() -> str:
        service = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with service, server.connections() as connections:
            listener = await connections.forward(NODE, service.sockets[0].getsockname()[1], refused.append)
            words = [sys.executable, "-I", "-c", CONNECT, str(listener.get_port())]
            process = await asyncio.create_subprocess_exec(
                *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options
            )
            answer, _ = await process.communicate()
            listener.close()
        return answer.decode().strip()

    answer = asyncio.run(work())
    return answer, [each for each in got if each], refused  # forward() itself connects and sends nothing


def test_a_tunnel_serves_the_user_who_opened_it(server: Server) -> None:
    """From end to end, and nobody is refused."""
    assert through_tunnel(server) == ("hello", [b"hello"], [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_tunnel_serves_no_other_user_of_this_machine(server: Server) -> None:
    """Not a byte of theirs reaches the cluster, and who opened it is told whose they were."""
    assert through_tunnel(server, user=65534, group=65534, extra_groups=[]) == ("", [], [65534])


def test_roots_lines_do_not_depend_on_how_sudo_is_set() -> None:
    """With a umask of 077 and no /usr/local on PATH, root makes files for all to read, and finds its commands."""
    words = ["bash", "-c", framed('umask; printf "%s" "$PATH"', root=True)]
    done = subprocess.run(words, umask=0o077, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)

    assert "0022\n/usr/local/sbin:/usr/local/bin:/usr/bin:/bin" == done.stdout
