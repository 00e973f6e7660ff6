"""What a stack says of its cluster: enough to go on elsewhere, and no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Additions, Node, PluginUse, Profile, RoleScript
from cloudmesh_cluster.operations.steps.description import Description, ScriptName, describe, read_description
from cloudmesh_cluster.operations.steps.foreign import problems_of_nodes

HOME = Home(Path("/nonexistent"), Path("/nonexistent"))

PROFILE = Profile(
    "lab",
    "/home/ann/lab.yaml",
    plugins=(PluginUse("hadoop", {"replication": 2}),),
    scripts=(RoleScript("all", "token", b"export TOKEN=secret"),),
)
SCRIPTS = [ScriptName("all", "token", "abcd" * 16, 3)]


def described(*plugins: PluginUse) -> str:
    """Return the description of a cluster, with other plugins if any are given."""
    return describe(
        replace(PROFILE, plugins=plugins or PROFILE.plugins),
        provider_settings={"os_cloud": "mine", "floating_ip": "all"},
        network="10.88.0.0/24",
        scripts=SCRIPTS,
        bootstrap_keys=["ssh-ed25519 AAAA cm-bootstrap op"],
        home=HOME,
    )


def read(text: str) -> Description:
    """Return what a description says."""
    return read_description(text, stack="cm-t", home=HOME)


def with_changes(changes: Mapping[str, object]) -> str:
    """Return the description with other values at some paths: `profile.user`."""
    data: dict[str, Any] = json.loads(described())
    for path, value in changes.items():
        *above, last = path.split(".")
        place = data
        for key in above:
            place = place[key]
        place[last] = value
    return json.dumps(data)


def test_it_reads_back() -> None:
    """Profile, settings, network, names of scripts and bootstrap keys come back as they were."""
    found = read(described())

    assert found.profile.plugins == (PluginUse("hadoop", {"replication": "2"}),)
    assert found.provider_settings == {"floating_ip": "all"}
    assert found.network == "10.88.0.0/24"
    assert list(found.scripts) == SCRIPTS
    assert found.bootstrap_keys == ("ssh-ed25519 AAAA cm-bootstrap op",)


def test_what_it_keeps_to_itself() -> None:
    """The text of scripts, and what belongs to the machine that made the cluster, are not in it."""
    for secret in ("secret", "ann", "mine"):
        assert secret not in described()


def test_a_later_version_may_say_more() -> None:
    """What this version does not know is passed over."""
    assert read(described().replace('{"boot', '{"later": 1, "boot', 1)).network


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"version": "1"}'])
def test_nonsense(text: str) -> None:
    """A stack that says nothing, or something else, is refused by its name."""
    with pytest.raises(UsageError, match="stack cm-t"):
        read(text)


FORGED = [
    {"profile.user": "root"},
    {"profile.user": "cm\nroot: x"},
    {"profile.user": ["cm"]},
    {"profile.mesh": "any"},
    {"profile.worker": {"count": "many"}},
    {"profile.worker": {"count": 1e999}},
    {"profile.worker": {"count": 1, "memory": [1]}},
    {"profile.plugins": [{"name": "../../evil", "settings": {}}]},
    {"profile.plugins": [{"name": "hadoop", "settings": [1]}]},
    {"profile.checks": [{"name": "a\nb", "run": "true"}]},
    {"profile.checks": [{"name": "a", "run": "true", "port": 1}]},
    {"profile.template": {"source": "x", "resources": {"server_1": {"type": "OS::Nova::Server"}}}},
    {"profile.template": {"source": "x", "resources": {"a": {"type": "evil.yaml"}}}},
    {"profile.template": {"source": "x", "resources": {"a": {"type": "A", "properties": {"p": {"get_file": "/x"}}}}}},
    {"provider_settings": {"nonsense": "1"}},
    {"provider_settings": {"signal": "x"}},
    {"provider_settings": ["a"]},
    {"network": "10.0.0.0/99"},
    {"cluster_id": "x' or 1"},
    {"cluster_id": 7},
    {"network": "10.88.0.0/24\nHost *"},
    {"bootstrap_keys": ["ssh-ed25519 AAAA x\nssh-ed25519 BBBB evil"]},
    {"bootstrap_keys": [1]},
    {"scripts": [{"role": "all", "name": "../../x", "digest": "abcd" * 16}]},
    {"scripts": [{"role": "root", "name": "x", "digest": "abcd" * 16}]},
    {"scripts": [{"role": "all", "name": "x", "digest": "abc"}]},
    {"scripts": [{"role": "all", "name": "x", "digest": "abcd" * 16, "exit": -1}]},
]  # fmt: skip


@pytest.mark.parametrize("changes", FORGED, ids=str)
def test_who_can_write_to_the_stack_is_not_believed(changes: Mapping[str, object]) -> None:
    """What the schema of profiles refuses in a file is refused in a stack, with the stack's name."""
    with pytest.raises(UsageError, match="stack cm-t"):
        read(with_changes(changes))


LOCAL = [
    ("hadoop", "source", "/home/victim/.ssh"),
    ("hadoop", "source", "jars.tar"),
    ("dask", "source", "~/.ssh"),
    ("dask", "source", "file:///etc"),
    ("spark", "source", "https://x/a /etc"),
    ("conda", "ssl_verify", "/home/victim/evil.pem"),
    ("conda", "channels", ["conda-forge", "file:///srv/x"]),
    ("conda", "channels", "conda-forge ../../x"),
    ("conda", "channels", ["https://evil/${AWS_SECRET_ACCESS_KEY}"]),
    ("conda", "channel_alias", "/srv"),
    ("conda", "default_channels", ["~victim/x"]),
    ("conda", "environments", {"a": ["python", "/srv/x.conda"]}),
    ("conda", "environments", {"a": ["x @ file:///srv/x.conda"]}),
]


@pytest.mark.parametrize(("plugin", "setting", "value"), LOCAL, ids=str)
def test_no_stack_names_files_of_this_machine(plugin: str, setting: str, value: object) -> None:
    """A path or variable that `cm` would read here goes into no stack, is taken from none, and is said."""
    forged = with_changes({"profile.plugins": [{"name": plugin, "settings": {setting: value, "start_timeout": "9s"}}]})
    for text in (forged, described(PluginUse(plugin, {setting: value, "start_timeout": "9s"}))):
        found = read(text)
        assert found.profile.plugins == (PluginUse(plugin, {"start_timeout": "9s"}),)
        assert found.left_out == (f"{plugin}.{setting}",)
    assert "victim" not in described(PluginUse(plugin, {setting: value}))


def test_what_another_machine_can_use_is_kept() -> None:
    """Addresses, names of channels, specs, and paths on the nodes come through."""
    settings = {
        "channels": ["conda-forge", "bioconda/label/main", "https://repo/channel"], "ssl_verify": "true",
        "environments": {"a": ["python=3.11", "numpy >=1.2,<2", "pip~=23.0", "conda-forge::x[build=*_0]"]},
        "install_prefix": "/opt/conda",
    }  # fmt: skip
    uses = (PluginUse("hadoop", {"source": "https://archive/hadoop.tar.gz"}), PluginUse("conda", settings))
    found = read(described(*uses))

    assert found.profile.plugins == uses
    assert found.left_out == ()


def test_a_stack_chooses_no_other_cloud() -> None:
    """The entry of `clouds.yaml` is the importing user's own choice."""
    assert read(with_changes({"provider_settings": {"os_cloud": "prod"}})).provider_settings == {}


def test_a_template_of_the_stack_names_no_file() -> None:
    """The user's own resources go along, without the path of their file."""
    profile = replace(PROFILE, template=Additions("/home/ann/x.yaml", {}, {"a": {"type": "OS::Heat::Value"}}))
    text = describe(profile, provider_settings={}, network="10.88.0.0/24", scripts=[], bootstrap_keys=[], home=HOME)
    template = read(text).profile.template

    assert "ann" not in text
    assert template == Additions("stack cm-t", {}, {"a": {"type": "OS::Heat::Value"}})


NODES = [
    Node("t-evil", "worker", 1, "found", "10.88.0.11"),
    Node("t-worker-1\nHost *", "worker", 1, "found", "10.88.0.11"),
    Node("t-worker-1", "master", 1, "found", "10.88.0.11"),
    Node("t-worker-1", "worker", 1, "found", "192.0.2.1"),
]


@pytest.mark.parametrize("node", NODES, ids=str)
def test_nodes_are_called_and_addressed_as_cm_does(node: Node) -> None:
    """A server of another name, role or address is no node of the cluster."""
    master = Node("t-master", "master", 0, "found", "10.88.0.10")
    assert problems_of_nodes("t", "10.88.0.0/24", [master], stack="cm-t") == []
    assert len(problems_of_nodes("t", "10.88.0.0/24", [master, node], stack="cm-t")) == 1
