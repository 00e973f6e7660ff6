"""The way to a machine is what the system's ssh says it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.model import Machine, Node
from cloudmesh_cluster.nodes.hosts import ssh_ports
from cloudmesh_cluster.providers.baremetal.login import keys_for, readable_lines
from cloudmesh_cluster.providers.baremetal.routes import Route, connect, expanded, route_to
from cloudmesh_cluster.providers.baremetal.settings import Settings


def route(folder: Path, config: str, machine: Machine) -> Route:
    """Return the way to a machine by a configuration."""
    file = folder / "config"
    file.write_text(config)
    return route_to(machine, Settings(ssh_config=file, user="admin"))


def test_a_direct_way(tmp_path: Path) -> None:
    """A name stands for the address, port, key, known hosts and alias that it has; the profile's user logs in."""
    config = "Host n1\n  HostName 10.0.0.1\n  Port 2222\n  User other\n  IdentityFile /k\n  HostKeyAlias a\n"
    found = route(tmp_path, config + "  UserKnownHostsFile /u1 /u2\n  GlobalKnownHostsFile /g\n", Machine("n1"))

    assert (found.name, found.address, found.port, found.user, found.alias) == (
        "10.0.0.1", "10.0.0.1", 2222, "admin", "a",
    )  # fmt: skip
    assert (found.identities, found.program) == ((Path("/k"),), "")
    assert found.known_hosts == (Path("/u1"), Path("/u2"), Path("/g"))


@pytest.mark.parametrize(
    ("words", "agent"),
    [("IdentityAgent none", ""), ("IdentityAgent $OTHER", "/other"), ("IdentityAgent /a", "/a"), ("Port 22", "/usual")],
)
def test_the_agent_is_the_one_that_ssh_would_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, agent: str
) -> None:
    """None, one that a variable names, one by its path, the usual one."""
    monkeypatch.setenv("SSH_AUTH_SOCK", "/usual")
    monkeypatch.setenv("OTHER", "/other")
    assert route(tmp_path, f"Host *\n  {words}\n", Machine("10.0.0.1")).agent == agent


def test_an_agents_other_keys_are_not_tried(tmp_path: Path) -> None:
    """With IdentitiesOnly an agent is asked only for keys whose public half lies here; without any, not at all."""
    config = f"Host *\n  IdentitiesOnly yes\n  IdentityAgent /a\n  IdentityFile {tmp_path}/key\n"
    found = route(tmp_path, config, Machine("10.0.0.1"))
    assert keys_for(found, Settings(user="admin"), ())["agent_path"] is None

    (tmp_path / "key.pub").touch()
    keys = keys_for(found, Settings(user="admin"), ())
    assert (keys["agent_path"], keys["agent_identities"]) == ("/a", [f"{tmp_path}/key.pub"])


@pytest.mark.parametrize("odd", [b"=", b"@nothing h ssh-ed25519 AAAA", b"\xe9 ssh-ed25519 AAAA", b"h ssh-ed25519 %"])
def test_an_invalid_line_of_known_hosts_is_skipped(tmp_path: Path, odd: bytes) -> None:
    """OpenSSH skips it, too; the other lines count."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    file = tmp_path / "known"
    file.write_bytes(odd + f"\nh1 {key}\n".encode())
    trusted, *_ = asyncssh.match_known_hosts(readable_lines(file).encode(), "h1", "10.0.0.1", None)
    assert [each.export_public_key().decode().strip() for each in trusted] == [key]


def test_the_profiles_port_wins(tmp_path: Path) -> None:
    """A port that the profile gives wins over the configuration's."""
    assert route(tmp_path, "Host *\n  Port 22\n", Machine("10.0.0.1", 2022)).port == 2022


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        ("first,me@last:2222", "-J first -l me -p 2222 -W '[10.0.0.1]:22' -- last"),
        ("me@10.0.0.9", "-l me -W '[10.0.0.1]:22' -- 10.0.0.9"),
        ("[fd00::9]:2222", "-p 2222 -W '[10.0.0.1]:22' -- fd00::9"),
        ("ssh://me@last:2222", "-l me -p 2222 -W '[10.0.0.1]:22' -- last"),
    ],
)
def test_a_jump_host(tmp_path: Path, jump: str, words: str) -> None:
    """Through a jump host leads an ssh of its own, which reads the same configuration; it passes no descriptor."""
    config = f"Host 10.0.0.1\n  ProxyJump {jump}\nHost *\n  ProxyUseFdpass yes\n"
    found = route(tmp_path, config, Machine("10.0.0.1"))

    assert found.program == f"ssh -F {tmp_path}/config -o BatchMode=yes {words}"
    assert not found.passes_descriptor


@pytest.mark.parametrize("passes", ["yes", "no"])
def test_the_last_words_of_a_program_are_the_reason(tmp_path: Path, passes: str) -> None:
    """A program that does not lead to the machine has said why, and that is what the user reads."""
    said = "ProxyCommand printf 'debug\\nno such host\\ngone\\n' >&2"
    silent = "ProxyCommand true"
    for line, reason in ((said, "no such host; gone"), (silent, "the ProxyCommand did not connect")):
        found = route(tmp_path, f"Host n1\n  {line}\n  ProxyUseFdpass {passes}\n", Machine("n1"))
        with pytest.raises(ConnectionRefusedError) as raised:
            asyncio.run(connect(found, "10.0.0.1", 22))
        assert raised.value.strerror == reason


def test_a_program_that_leads_there(tmp_path: Path) -> None:
    """What the server says first is still to be read when its program has connected."""
    found = route(tmp_path, "Host n1\n  ProxyCommand echo SSH-2.0\n", Machine("n1"))

    with asyncio.run(connect(found, "10.0.0.1", 22)) as connected:
        assert connected.recv(64) == b"SSH-2.0\n"


def test_a_busy_jump_host_is_asked_again(tmp_path: Path) -> None:
    """A jump host that has too many logins under way turns some away; the next attempt gets through."""
    program = tmp_path / "jump"
    program.write_text(f"""\
#!/bin/sh
echo >>{tmp_path}/asked
[ $(wc -l <{tmp_path}/asked) -lt 3 ] || exec echo SSH-2.0
echo "kex_exchange_identification: read: Connection reset by peer" >&2
echo "Connection closed by UNKNOWN port 65535" >&2
exit 255
""")
    program.chmod(0o755)
    found = route(tmp_path, f"Host n1\n  ProxyCommand {program}\n", Machine("n1"))

    with asyncio.run(connect(found, "10.0.0.1", 22)) as connected:
        assert connected.recv(64) == b"SSH-2.0\n"


def test_a_proxy_command(tmp_path: Path) -> None:
    """The tokens of a ProxyCommand are filled in as ssh does it; none is no command."""
    config = "Host n1\n  HostName 10.0.0.1\n  ProxyCommand nc -x p %h %p # %n %r 100%%\n  ProxyUseFdpass yes\n"
    found = route(tmp_path, config, Machine("n1"))

    assert found.program == "nc -x p 10.0.0.1 22 # n1 admin 100%"
    assert found.passes_descriptor
    assert route(tmp_path, "Host *\n  ProxyCommand none\n", Machine("n1")).program == ""


def test_a_configuration_with_a_fault(tmp_path: Path) -> None:
    """What ssh does not understand is the user's to correct, and so is a name that nobody knows."""
    with pytest.raises(UsageError, match="bad configuration option"):
        route(tmp_path, "NoSuchThing yes\n", Machine("n1"))
    with pytest.raises(UsageError, match="can't be resolved here"):
        _ = route(tmp_path, "", Machine("no-such-host.invalid")).address


def test_unknown_tokens_stay() -> None:
    """A percent sign that is no known token stays as it is."""
    assert expanded("%h %z 5%", {"%h": "x"}) == "x %z 5%"


def test_nodes_learn_of_other_ports() -> None:
    """Only SSH servers on other ports than 22 are told to the nodes, by every name, with the key of the node's name."""
    nodes = [
        Node("d-master", "master", 0, "running", "10.0.0.1"),
        Node("d-worker-1", "worker", 1, "running", "10.0.0.2"),
    ]

    assert ssh_ports(nodes, {"d-master": 22, "d-worker-1": 2222}) == (
        "Host d-worker-1 worker-1 10.0.0.2\n    Port 2222\n    HostKeyAlias d-worker-1\n"
    )
