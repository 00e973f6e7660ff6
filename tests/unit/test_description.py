"""What a stack says of its cluster: enough to go on elsewhere, and no secret."""

from __future__ import annotations

import pytest

from cloudmesh_cluster.errors import UsageError
from cloudmesh_cluster.model import PluginUse, Profile, RoleScript
from cloudmesh_cluster.operations.description import ScriptName, describe, read_description

PROFILE = Profile(
    "lab",
    "/home/ann/lab.yaml",
    plugins=(PluginUse("hadoop", {"replication": 2}),),
    scripts=(RoleScript("all", "token", b"export TOKEN=secret"),),
)
SCRIPTS = [ScriptName("all", "token", "abc", 3)]


def described() -> str:
    """Return the description of a cluster."""
    return describe(
        PROFILE,
        provider_settings={"os_cloud": "mine", "floating_ip": "all"},
        network="10.88.0.0/24",
        scripts=SCRIPTS,
        bootstrap_keys=["ssh-ed25519 AAAA cm-bootstrap op"],
    )


def test_it_reads_back() -> None:
    """Profile, settings, network, names of scripts and bootstrap keys come back as they were."""
    found = read_description(described(), stack="cm-t")

    assert found.profile.plugins == PROFILE.plugins
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
    assert read_description(described().replace('{"boot', '{"later": 1, "boot', 1), stack="cm-t").network


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"version": "1"}'])
def test_nonsense(text: str) -> None:
    """A stack that says nothing, or something else, is refused by its name."""
    with pytest.raises(UsageError, match="stack cm-t"):
        read_description(text, stack="cm-t")
