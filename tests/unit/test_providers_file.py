"""`providers.yaml`, and which provider a cluster is made on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloudmesh_cluster.config.providers_file import ProviderChoice, Providers, choose_provider, load_providers
from cloudmesh_cluster.core.errors import InvalidInput, NotFound, UsageError
from cloudmesh_cluster.core.home import Home

LAB = """\
default: lab
lab: {type: local, mirror: "https://mirror.example/debian", image: base.tar, network: 10.88.0.0/16,
      host_access: true}
cloud: {type: openstack, os_cloud: devstack, image: debian-12}
metal: {type: baremetal}
"""


@pytest.fixture
def own(tmp_path: Path) -> Home:
    """Return an empty home."""
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home", tmp_path / "cache")


def write(home: Home, text: str, *, mode: int = 0o600) -> None:
    """Write the user's providers.yaml."""
    home.providers_file.write_text(text)
    home.providers_file.chmod(mode)


def choose(
    home: Home, *, option: str | None = None, profile: str | None = None, **environ: str
) -> tuple[str, str, str]:
    """Return name, type and reason of the provider chosen."""
    choice = choose_provider(home, option=option, profile=profile, environ=environ)
    return choice.name, choice.type, choice.why


def test_no_file(own: Home) -> None:
    """Without providers.yaml nothing is configured, and nodes come from this machine."""
    assert load_providers(own) == Providers()
    assert choose(own) == ("local", "local", "no other is configured")


def test_settings(own: Home) -> None:
    """An entry's settings come along, paths relative to the file, ready for the journal."""
    write(own, LAB)
    choice = choose_provider(own, option=None, profile=None, environ={})

    assert choice == ProviderChoice(
        "lab",
        "local",
        {
            "mirror": "https://mirror.example/debian",
            "image": str(own.root / "base.tar"),
            "network": "10.88.0.0/16",
            "host_access": True,
        },
        "default in providers.yaml",
    )
    assert json.loads(json.dumps(dict(choice.settings))) == choice.settings


def test_order(own: Home) -> None:
    """The option wins over the profile, the profile over the default, the default over the environment."""
    write(own, "default: one\none: {type: local}\ntwo: {type: local}\nthree: {type: local}\n")

    assert choose(own, option="three", profile="two", OS_CLOUD="x") == ("three", "local", "--provider")
    assert choose(own, profile="two", OS_CLOUD="x") == ("two", "local", "the profile says so")
    assert choose(own, OS_CLOUD="x") == ("one", "local", "default in providers.yaml")


def test_a_word_is_a_name_first(own: Home) -> None:
    """A word is looked up as a name in the file, then as a type; what is at hand by itself too."""
    write(own, "local: {type: local, network: 10.1.0.0/16}\nopenstack: {type: local}\n")

    assert choose_provider(own, option="local", profile=None, environ={}).settings == {"network": "10.1.0.0/16"}
    assert choose_provider(own, option=None, profile=None, environ={}).settings == {"network": "10.1.0.0/16"}
    assert choose(own, OS_AUTH_URL="http://k") == ("openstack", "local", "OS_AUTH_URL is set")


def test_machines_that_exist(own: Home) -> None:
    """Bare metal is found by name, by type and by acluster's word for it; the key's path is relative to the file."""
    write(own, "metal: {type: baremetal, private_key: keys/id, ssh_config: ~/config}\n")
    choice = choose_provider(own, option="metal", profile=None, environ={})

    assert choice.settings == {"private_key": str(own.root / "keys/id"), "ssh_config": str(Path.home() / "config")}
    assert choose(own, option="baremetal") == ("baremetal", "baremetal", "--provider")
    assert choose(own, option="bare_metal") == ("bare_metal", "baremetal", "--provider")


def test_a_provider_of_acluster(own: Home) -> None:
    """The runbook's entry is machines that exist; of the keys for EC2 nothing is kept, and EC2 itself is refused."""
    write(own, "bare_metal: {cloud_provider: none, private_key: /k, secret_key: s3cret, location: us-east-1}\n")

    assert choose_provider(own, option="bare_metal", profile=None, environ={}).settings == {"private_key": "/k"}
    write(own, "aws: {cloud_provider: ec2}\n")
    with pytest.raises(InvalidInput, match="EC2"):
        load_providers(own)


def test_settings_of_a_cloud(own: Home) -> None:
    """A cloud's settings come along as they are written, without the type."""
    write(own, LAB)
    choice = choose_provider(own, option="cloud", profile=None, environ={})

    assert (choice.name, choice.type) == ("cloud", "openstack")
    assert choice.settings == {"os_cloud": "devstack", "image": "debian-12"}


def test_openstack_in_the_environment(own: Home) -> None:
    """OS_CLOUD stands for OpenStack, unless it is empty."""
    assert choose(own, OS_CLOUD="devstack") == ("openstack", "openstack", "OS_CLOUD is set")
    assert choose(own, OS_AUTH_URL="http://k") == ("openstack", "openstack", "OS_AUTH_URL is set")
    assert choose(own, OS_CLOUD="") == ("local", "local", "no other is configured")


def test_unknown_provider(own: Home) -> None:
    """A word that is neither is an error with what was meant."""
    write(own, LAB)

    with pytest.raises(NotFound) as caught:
        choose(own, option="clod")

    assert caught.value.hint == "did you mean 'cloud'?"
    assert caught.value.known == ("lab", "cloud", "metal", "local", "openstack", "baremetal")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_open_to_others(own: Home, mode: int) -> None:
    """A file of secrets that others can reach is refused with the command that mends it."""
    write(own, LAB, mode=mode)

    with pytest.raises(InvalidInput, match=rf"providers\.yaml: is open to other users \(mode {mode:04o}\) \(chmod 600"):
        load_providers(own)


def test_every_problem(own: Home) -> None:
    """All problems of the file are reported at once, each with its place."""
    write(
        own,
        "default: nowhere\n"
        "a: {type: locl}\n"
        "b: {type: local, mirror: here, network: 10.0.0.1/8, imgae: x}\n"
        "c: local\n"
        "d: {type: local, network: 8.8.8.0/24}\n"
        "e: {mirror: http://m}\n"
        "f:\n"
        "a: {type: local}\n",
    )

    with pytest.raises(InvalidInput) as caught:
        load_providers(own)

    prefix = f"{own.providers_file}:"
    assert [line.removeprefix(prefix) for line in str(caught.value).splitlines()] == [
        "1:10: default: no provider named 'nowhere' (known: a, b, d, e, local, openstack, baremetal)",
        "2:11: a.type: 'locl' is unknown: expected local or openstack or baremetal (did you mean 'local'?)",
        "3:26: b.mirror: expected a URL (https://...), got 'here'",
        "3:41: b.network: '10.0.0.1/8' is no IPv4 network: 10.0.0.1/8 has host bits set (for example 10.88.0.0/16)",
        "3:53: b.imgae: unknown key (did you mean 'image'?)",
        "4:4: c: expected a mapping with a type and settings (NAME: {type: local})",
        "5:27: d.network: expected a private network of at least /28, got 8.8.8.0/24",
        "6:4: e.type: is missing",
        "7:3: f: expected a mapping with a type and settings (NAME: {type: local})",
        "8:1: a: is given twice (first in line 2)",
    ]


def test_options_of_openstack_win(own: Home) -> None:
    """What an option says wins over the file, and stands for OpenStack where nothing names a provider."""
    write(own, "site: {type: openstack, os_cloud: site, floating_ip: none, image: debian-12}\n")
    options = {"os_cloud": "other", "floating_ip": None}
    choice = choose_provider(own, option="site", profile=None, environ={}, openstack=options)
    unnamed = choose_provider(own, option=None, profile=None, environ={}, openstack=options)

    assert choice.settings == {"os_cloud": "other", "floating_ip": "none", "image": "debian-12"}
    assert unnamed == ProviderChoice("openstack", "openstack", {"os_cloud": "other"}, "--os-cloud is given")


def test_options_of_openstack_need_it(own: Home) -> None:
    """Options that only OpenStack has are refused where the provider is another one, saying why it is that one."""
    write(own, "default: local\n")
    with pytest.raises(UsageError) as caught:
        choose_provider(own, option=None, profile=None, environ={}, openstack={"os_cloud": "other"})

    assert caught.value.message == "--os-cloud: provider 'local' (default in providers.yaml) is local, no OpenStack"


def test_the_cloud_of_the_environment_stays_with_the_cluster(own: Home) -> None:
    """What OS_CLOUD says is taken down, unless the provider names its cloud, so that later commands find the same."""
    write(own, LAB)
    unnamed = choose_provider(own, option="openstack", profile=None, environ={"OS_CLOUD": "a"})
    named = choose_provider(own, option="cloud", profile=None, environ={"OS_CLOUD": "a"})
    here = choose_provider(own, option="local", profile=None, environ={"OS_CLOUD": "a"})

    assert unnamed.settings == {"os_cloud": "a"}
    assert named.settings["os_cloud"] == "devstack"
    assert here.settings == {}
