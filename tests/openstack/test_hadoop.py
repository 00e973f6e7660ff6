"""Hadoop on a real OpenStack: made without any settings, then grown, shrunk and mended while it lives."""

from __future__ import annotations

import base64
import email
import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import Devcloud
from tests.support.secrets import holds, spellings

NAME = f"h{secrets.token_hex(3)}"
STACK = f"cm-{NAME}"
TIMEOUT = 900
HOSTS_BLOCK = f"sed -n '/^# BEGIN cm {NAME}$/,/^# END cm {NAME}$/p' /etc/hosts"
TRY_TO_LOG_IN = """
for account in cm root debian; do
    for node in master worker-1 worker-2; do
        ssh -F none -o BatchMode=yes -o ConnectTimeout=10 -o IdentitiesOnly=yes -i stolen $account@$node id 2>&1
    done
done
rm stolen
"""


@dataclass
class Made:
    """A Hadoop cluster, and what `cm` said when it was made."""

    cm: CommandLine
    devcloud: Devcloud
    summary: dict[str, Any]

    def change(self, *words: str) -> dict[str, Any]:
        """Change the cluster by a command, and return its summary."""
        return dict(json.loads(self.cm("cluster", *words, "-f", "json", timeout=TIMEOUT).stdout))

    def servers(self) -> dict[str, str]:
        """Return Nova's ids of the servers by name; all are ACTIVE."""
        found = self.devcloud.nova.servers.list(search_opts={"name": f"^{NAME}-"})
        assert {each.status for each in found} == {"ACTIVE"}
        return {each.name.removeprefix(f"{NAME}-"): each.id for each in found}

    def openstack(self, *words: str) -> str:
        """Return what the command `openstack` prints, as the cluster's owner runs it."""
        program = self.devcloud.cloud.venv / "bin" / "openstack"
        command = [str(program), "--os-cloud", self.devcloud.name, *words]
        return subprocess.run(command, check=True, text=True, capture_output=True).stdout

    def user_data(self, server: str) -> str:
        """Return what Nova told a server at its first boot; this is for administrators only."""
        seen = self.devcloud.admin.nova.servers.get(self.servers()[server])
        return base64.b64decode(getattr(seen, "OS-EXT-SRV-ATTR:user_data")).decode()


@pytest.fixture(scope="module")
def made(devcloud: Devcloud, shared_cm: CommandLine) -> Iterator[Made]:
    """Return a verified Hadoop cluster of two workers, for which `cm` was told nothing but the cloud."""
    cm = CommandLine(shared_cm.home, shared_cm.cache, environ={"OS_CLOUD": devcloud.name})
    words = ("cluster", "create", NAME, "-p", "hadoop", "--provider", "openstack", "-f", "json")
    summary = json.loads(cm(*words, timeout=TIMEOUT).stdout)
    yield Made(cm, devcloud, summary)
    cm("cluster", "delete", NAME, "--force", "-y", expect=None)
    devcloud.delete_stack(STACK)


@pytest.fixture(scope="module")
def bootstrap_key(made: Made) -> bytes:
    """Return the private key in the user_data of the last node."""
    parts = [part.get_payload() for part in email.message_from_string(made.user_data("worker-2")).walk()]
    config = next(yaml.safe_load(str(part)) for part in parts if str(part).startswith("#cloud-config"))
    (file,) = (each for each in config["write_files"] if each["path"].endswith("/id_ed25519"))
    return base64.b64decode(file["content"])


def assert_sound(made: Made, summary: dict[str, Any], workers: list[int]) -> None:
    """Check that a cluster has these workers, that it counts words, and that all nodes know the same names."""
    names = ["master", *(f"worker-{index}" for index in workers)]
    blocks = json.loads(made.cm("cluster", "cmd", NAME, "-f", "json", "--", HOSTS_BLOCK).stdout)
    block = blocks[0]["stdout"]

    assert summary["cluster"]["state"] == "ready"
    assert [node["name"].removeprefix(f"{NAME}-") for node in summary["nodes"]] == names
    assert "word count on YARN" in {check["check"] for check in summary["checks"] if check["ok"]}
    assert [check for check in summary["checks"] if not check["ok"]] == []
    assert {node["name"].removeprefix(f"{NAME}-"): node["provider_id"] for node in summary["nodes"]} == made.servers()
    assert len(blocks) == len(names)
    assert {each["stdout"] for each in blocks} == {block}
    assert [line.split()[2] for line in block.splitlines() if line[0].isdecimal()] == names


def test_words_are_counted_on_active_servers(made: Made) -> None:
    """Heat calls the stack complete, Nova its servers ACTIVE, and Hadoop has counted the words of a text on them."""
    assert made.openstack("stack", "show", STACK, "-f", "value", "-c", "stack_status") == "CREATE_COMPLETE\n"
    assert_sound(made, made.summary, [1, 2])


def test_no_private_key_in_what_openstack_shows(made: Made, bootstrap_key: bytes) -> None:
    """Whoever may look at the stack sees no private key: neither in it, nor in its template, environment, resources."""
    needles = spellings(bootstrap_key)
    resources = [each.resource_name for each in made.devcloud.heat.resources.list(STACK)]
    shown = {
        "stack": made.openstack("stack", "show", STACK, "-f", "json"),
        "template": made.openstack("stack", "template", "show", STACK),
        "environment": made.openstack("stack", "environment", "show", STACK),
        "server_2": made.openstack("stack", "resource", "show", STACK, "server_2", "-f", "json"),
        **{name: json.dumps(made.devcloud.heat.resources.get(STACK, name).to_dict()) for name in resources},
    }

    assert holds(made.user_data("worker-2").encode(), needles), "the probe does find the key"
    assert "bootstrap_private_key" in shown["environment"], "the parameters are shown"
    assert {"server_0", "server_1", "server_2"} < set(resources)
    assert [where for where, text in shown.items() if holds(text.encode(), needles)] == []


def test_key_of_the_user_data_opens_no_node(made: Made, bootstrap_key: bytes) -> None:
    """Who reads the key in the user_data can't log in by it any more: no account of any node accepts it."""
    on_node = ("cluster", "ssh", NAME, "-t", "worker-2", "--")
    made.cm(*on_node, "umask 077; cat > stolen", stdin=bootstrap_key.decode())
    public = made.cm(*on_node, "ssh-keygen -y -f stolen").stdout
    tried = made.cm(*on_node, TRY_TO_LOG_IN).stdout

    assert public.startswith("ssh-ed25519 "), "the key is whole"
    assert tried.count("Permission denied (publickey)") == 9, tried
    assert "uid=" not in tried


def test_growing_keeps_the_servers(made: Made) -> None:
    """One worker more: Hadoop uses it, and the servers that were there are the same ones."""
    before = made.servers()

    assert_sound(made, made.change("scale", NAME, "+1"), [1, 2, 3])
    after = made.servers()
    assert {name: after[name] for name in before} == before


def test_shrinking_keeps_the_servers(made: Made) -> None:
    """One worker less: the newest goes, no other server changes."""
    before = made.servers()

    assert_sound(made, made.change("scale", NAME, "-1"), [1, 2])
    assert made.servers() == {name: each for name, each in before.items() if name != "worker-3"}


def test_replacing_keeps_the_other_servers(made: Made) -> None:
    """A worker made anew is another server of the same name; all others are the same ones."""
    before = made.servers()

    assert_sound(made, made.change("replace", NAME, "worker-2"), [1, 2])
    after = made.servers()
    assert [name for name in before if after[name] != before[name]] == ["worker-2"]
