"""Properties of what reads and writes files of others: profiles, user data, `/etc/hosts`, `ssh -G`, bundles."""

from __future__ import annotations

import email
import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudmesh_cluster.config.profile import load_profile
from cloudmesh_cluster.config.profile_yaml import to_yaml
from cloudmesh_cluster.core.errors import CmError
from cloudmesh_cluster.core.model import Machine, Node, Profile, node_names
from cloudmesh_cluster.nodes.hosts import hosts_block, parse_host_keys, replace_block
from cloudmesh_cluster.nodes.keys import KeyPair
from cloudmesh_cluster.nodes.user_data import LIMIT, user_data
from cloudmesh_cluster.operations.bundle.archive import Bundle, read_about
from cloudmesh_cluster.operations.bundle.members import check_place
from cloudmesh_cluster.providers.baremetal.routes import route_of
from cloudmesh_cluster.providers.baremetal.settings import Settings

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(
    ["2G", "30s", "all", "worker", "/tmp", "@x", "env:X", "1..3", "true", "10.0.0.0/16"]
)  # fmt: skip
KEYS = st.text(max_size=5) | st.sampled_from(
    ["name", "user", "roles", "master", "worker", "count", "memory", "cpus", "plugins", "scripts", "checks", "run",
     "on", "expect", "stdout", "within", "machines", "head", "compute", "volumes", "size", "mount", "provider", "mesh"]
)  # fmt: skip
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
LINES_OF_SHELL = st.sampled_from(["true", "echo 'x'\nfalse\n", "#!/bin/sh\n: \u00e4\n", "a: b", "- c", "  d", "@e"])
SCRIPT = st.fixed_dictionaries({"name": st.sampled_from(["one", "two.sh"]), "run": LINES_OF_SHELL})
WORKER = st.fixed_dictionaries({"count": st.integers(0, 3)}, optional={"memory": st.just("2G")})
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["p", "my-profile"]),
        "roles": st.fixed_dictionaries({}, optional={"worker": WORKER}),
        "scripts": st.dictionaries(
            st.sampled_from(["all", "master", "worker"]), st.lists(SCRIPT, max_size=1), max_size=2
        ),
        "checks": st.lists(
            st.fixed_dictionaries(
                {"name": TEXTS, "run": LINES_OF_SHELL},
                optional={"on": st.sampled_from(["all", "master", "worker"]), "within": st.sampled_from(["5s", "1m"])},
            ),
            max_size=2,
        ),
    },
)
PROFILE = Path("profile.yaml")


def loaded(content: bytes) -> Profile | None:
    """Return the profile that a file holds; None if it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / PROFILE
        file.write_bytes(content)
        with suppress(CmError):
            return replace(load_profile(file), source="")
    return None


@few
@given(st.binary(max_size=60) | st.text("a: -[]{}&*!|>'\"#%@,\n\t", max_size=40).map(str.encode))
def test_a_file_is_a_profile_or_refused(content: bytes) -> None:
    """Whatever a file holds, it is a profile or a CmError."""
    found = loaded(content)
    assert found is None or isinstance(found, Profile)


@few
@given(LIKELY | st.dictionaries(KEYS, TREES, max_size=5))
def test_a_profile_that_is_written_is_read_as_it_was(tree: dict[str, Any]) -> None:
    """What `to_yaml` writes of a profile, `load_profile` reads as the same profile."""
    found = loaded(yaml.safe_dump(tree, allow_unicode=True).encode())
    if found is not None:
        assert loaded(to_yaml(found).encode()) == found


NODE = Node("t-master", "master", 0, "running", "10.0.0.1")
BLOCK = hosts_block("t", [NODE])
LINES = st.lists(
    st.sampled_from(["# BEGIN cm t", "# END cm t", "# BEGIN cm t2", "# END cm t2", "10.0.0.1 t-master master", ""])
    | st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=8),
    max_size=8,
)


@few
@example(["# END cm t", "# BEGIN cm t"])
@given(LINES)
def test_a_block_is_there_once_and_the_rest_stays(lines: list[str]) -> None:
    """Writing a block again changes nothing; without it, all other lines are as they were."""
    text = "\n".join(lines)
    once = replace_block(text, "t", BLOCK)
    assert replace_block(once, "t", BLOCK) == once
    assert once.count(BLOCK) == 1
    without = replace_block(once, "t", "")
    assert replace_block(text, "t", "").rstrip("\n") == without.rstrip("\n")
    if not {"# BEGIN cm t", "# END cm t"} <= set(lines):
        assert without.splitlines() == text.splitlines()


@few
@given(st.text(), st.lists(st.sampled_from(["ssh-ed25519 AAAAC3Nza", "ssh-rsa AAAAB3Nza=", "ssh-dss AAAA"])))
def test_host_keys_are_one_word_each(noise: str, keys: list[str]) -> None:
    """Whatever stands around them, keys are of the known kinds, each once, Ed25519 first."""
    found = parse_host_keys(f"\n{noise}\n".join(["", *keys, ""]))
    assert len(set(found)) == len(found)
    assert {each for each in keys if "dss" not in each} <= set(found)
    assert found == sorted(found, key=lambda key: not key.startswith("ssh-ed25519 "))
    assert all(len(each.split()) == 2 for each in found)


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


@few
@given(NAMES, NAMES, st.integers(1, 20), st.text("AB+/= \t#:'\"|&*-", max_size=30))
def test_user_data_says_what_it_was_told(cluster: str, user: str, workers: int, comment: str) -> None:
    """Read as cloud-init does, it has the user, the login key and the names; it is never larger than clouds accept."""
    nodes = [
        Node(name, "worker" if index else "master", index, "planned", f"10.0.0.{index + 1}")
        for index, name in enumerate(node_names(cluster, workers))
    ]
    key = f"ssh-ed25519 AAAAlogin {comment}".strip()
    told = user_data(
        cluster=cluster, operation="op", node=nodes[-1], nodes=nodes, user=user, login_public_key=key,
        bootstrap=KeyPair(b"the private half\n", "ssh-ed25519 AAAAbootstrap cm"), cidr="10.0.0.0/16", deadline=60,
    )  # fmt: skip
    assert len(told.content) <= LIMIT
    first = next(part for part in email.message_from_bytes(told.content).walk() if not part.is_multipart())
    config = yaml.safe_load(str(first.get_payload()))
    accounts = [each for each in config["users"] if isinstance(each, dict)]
    assert [each["name"] for each in accounts] == [user]
    assert key in accounts[0]["ssh_authorized_keys"]


SSH_LINES = st.lists(
    st.tuples(
        st.sampled_from(
            ["hostname", "port", "proxyjump", "proxycommand", "identityagent", "identityfile", "userknownhostsfile",
             "hostkeyalias", "proxyusefdpass", "user"]
        ),
        st.text(max_size=10) | st.sampled_from(["none", "22", "~nobody-at-all/x", "a@[::1]:22,b", "%h %p %", "'"]),
    ).map(" ".join),
    max_size=8,
)  # fmt: skip


@few
@example(["port x"])
@example(["port 99999999999999999999"])
@example(["userknownhostsfile /a'b"])
@example(["identityfile ~nobody-at-all/key"])
@given(SSH_LINES)
def test_an_answer_of_ssh_is_a_route_or_refused(lines: list[str]) -> None:
    """Whatever `ssh -G` answers, it is a way to a port, or a CmError."""
    with suppress(CmError):
        route = route_of(Machine("host"), Settings(user="u"), "\n".join(lines))
        assert 0 < route.port < 1 << 16
        assert all(isinstance(path, Path) for path in (*route.identities, *route.known_hosts))


@few
@example(b"[" * 100_000)
@given(st.binary(max_size=20) | TREES.map(lambda tree: json.dumps(tree).encode())
       | TREES.map(lambda tree: json.dumps({"profile": "p", "made_at": "now", "files": tree}).encode()))  # fmt: skip
def test_a_bundle_says_what_it_holds_or_is_refused(text: bytes) -> None:
    """Whatever stands in a bundle's list, it is texts by place, or a ValueError, which `use_bundle` explains."""
    with suppress(ValueError):
        found = read_about(text)
        assert isinstance(found, Bundle)
        assert all(isinstance(each, str) for pair in found.files.items() for each in pair)


@few
@example("payloads/../../x.tar")
@example("images/base-0123456789abcdef.tar\n")
@given(st.text(max_size=20) | st.from_regex(r"(payloads|debs|conda/bundled)/[a-z./]{1,9}\.(tar|json)", fullmatch=True))
def test_a_place_is_below_the_cache_or_refused(name: str) -> None:
    """A member that is let in lies below the cache, and not at its top."""
    with suppress(ValueError):
        check_place(name)
        parts = PurePosixPath(name).parts
        assert len(parts) > 1
        assert not {"..", "/", "."} & set(parts)
        assert "\n" not in name
