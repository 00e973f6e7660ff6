"""What `providers.yaml` may say of a cloud."""

from __future__ import annotations

from typing import Any

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.providers.openstack.settings import Settings


def test_nothing_given() -> None:
    """Without settings everything has a default: a network of its own, a floating IP for the master."""
    settings = Settings.of({})

    assert (settings.os_cloud, settings.network, settings.cidr) == (None, None, "10.88.0.0/24")
    assert (settings.floating_ip, settings.signal, settings.anti_affinity) == ("master", "heat", "no")
    assert settings.host_keys == "console"


@pytest.mark.parametrize(
    "given",
    [
        {"os_cloud": "site", "image": "debian-12", "flavor": "m1.small"},
        {"floating_ip": "all", "signal": "ssh", "anti_affinity": "yes"},
        {"host_keys": "handle", "signal": "heat"},
        {"root_volume": "20"},
        {"floating_ip": "none", "network": "lan", "subnet": "lan-4"},
    ],
)
def test_given(given: dict[str, Any]) -> None:
    """What is given is taken over, and the rest keeps its default."""
    assert Settings.of(given) == Settings(**given)


def test_numbers_are_text() -> None:
    """A name that looks like a number is a name."""
    assert Settings.of({"availability_zone": 1}).availability_zone == "1"


def test_nothing_after_the_colon() -> None:
    """A setting that is named and left empty is one that is not given."""
    assert Settings.of({"os_cloud": None, "floating_ip": None}) == Settings()


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"imgae": "x"}, "unknown setting 'imgae'", "did you mean 'image'?"),
        ({"os_cluod": "x"}, "unknown setting 'os_cluod'", "did you mean 'os_cloud'?"),
        ({"floating_ip": "worker"}, "floating_ip 'worker'", "one of master, all, none"),
        ({"signal": "mail"}, "signal 'mail'", "one of heat, ssh"),
        ({"anti_affinity": "maybe"}, "anti_affinity 'maybe'", "one of yes, no"),
        ({"root_volume": "20G"}, "root_volume '20G'", "a size in GiB, such as 20"),
        ({"root_volume": 0}, "root_volume '0'", "a size in GiB, such as 20"),
        ({"host_keys": "any"}, "host_keys 'any'", "one of console, handle"),
        (
            {"host_keys": "handle", "signal": "ssh"},
            "host_keys: handle needs nodes that reach Heat, signal: ssh says that they don't",
            "host_keys: console, or leave signal out",
        ),
        ({"dns": ["192.0.2.1", "192.0.2.2"]}, "dns is one text, not a list or a mapping", ""),
        ({"anti_affinity": True}, "anti_affinity 'True'", "one of yes, no"),
    ],
)
def test_wrong(given: dict[str, Any], message: str, hint: str) -> None:
    """An unknown setting or value is wrong usage that names it and what was meant."""
    with pytest.raises(UsageError) as caught:
        Settings.of(given)

    assert caught.value.message == f"provider openstack: {message}"
    assert caught.value.hint == hint
