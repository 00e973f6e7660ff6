"""The parts of devcloud that need no OpenStack: where it is, what it writes, how it translates addresses."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
import yaml

from devcloud import cloud as clouds
from devcloud import clouds_yaml, database, processes
from devcloud.configuration import render
from devcloud.errors import DevcloudError
from devcloud.layout import DATABASES, REPOSITORY, Cloud
from devcloud.passwords import Passwords
from devcloud.wiring import Wiring, rules

ENTRY = {"auth": {"auth_url": "http://somewhere", "password": "secret"}}


def test_clouds_of_both_drivers_share_nothing_but_programs(tmp_path: Path) -> None:
    """The folders, addresses and names of the two clouds differ; the virtual environment is the same."""
    engine, fake = (Cloud.from_environment({"DEVCLOUD_ROOT": str(tmp_path)}, driver) for driver in ("engine", "fake"))
    assert engine.venv == fake.venv
    for each in ("folder", "address", "name", "database_socket"):
        assert getattr(engine, each) != getattr(fake, each)


@pytest.mark.parametrize("root", [REPOSITORY / "devcloud" / "state", Path("/tmp") / ("long" * 30)])
def test_folders_that_cannot_serve_are_refused(root: Path) -> None:
    """State in the source tree, and a path too long for a unix socket, are refused with what to set."""
    with pytest.raises(DevcloudError) as refused:
        Cloud.from_environment({"DEVCLOUD_ROOT": str(root)}, "fake")
    assert "DEVCLOUD_ROOT" in refused.value.hint


def test_a_cloud_of_an_older_devcloud_is_refused(tmp_path: Path) -> None:
    """A cloud on disk that lacks a service's database is not started; what removes it is said, nothing installed."""
    cloud = Cloud.from_environment({"DEVCLOUD_ROOT": str(tmp_path)}, "fake")
    for name in DATABASES:
        (cloud.state / "mariadb" / name).mkdir(parents=True)
    (cloud.state / ".ready").touch()
    (cloud.state / "mariadb" / "cinder").rmdir()
    with pytest.raises(DevcloudError, match="without cinder") as refused:
        clouds.up(cloud, print)
    assert "devcloud clean --driver fake" in refused.value.hint
    assert not cloud.venv.exists()


def test_the_state_of_a_fresh_cloud_is_kept_for_its_key(tmp_path: Path) -> None:
    """What was saved comes back in place of what has become of it, and for another key nothing does."""
    cloud = Cloud.from_environment({"DEVCLOUD_ROOT": str(tmp_path)}, "fake")
    files = [cloud.state / name / "file" for name in ("mariadb", "keystone", "glance")]
    for folder in (cloud.cache, *(file.parent for file in files)):
        folder.mkdir(parents=True)
    for file in files:
        file.write_text("fresh")
    database.save(cloud, "key")
    for file in files:
        file.write_text("used")
    assert not database.restore(cloud, "other")
    assert [file.read_text() for file in files] == ["used"] * 3
    assert database.restore(cloud, "key")
    assert [file.read_text() for file in files] == ["fresh"] * 3


def test_a_program_is_ours_from_its_start(tmp_path: Path) -> None:
    """A program that was just started is known as running at once, before it has done anything."""
    cloud = Cloud.from_environment({"DEVCLOUD_ROOT": str(tmp_path)}, "fake")
    for folder in (cloud.log, cloud.run):
        folder.mkdir(parents=True)
    for number in range(300):
        pid = processes.start(cloud, "program", [sys.executable, "-c", "import time; time.sleep(60)"])
        known = processes.process_id(cloud, "program")
        processes.end([pid])
        assert known == pid, number


def test_a_program_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    """Starting what ends before it could be looked at returns, and it does not pass for running."""
    cloud = Cloud.from_environment({"DEVCLOUD_ROOT": str(tmp_path)}, "fake")
    for folder in (cloud.log, cloud.run):
        folder.mkdir(parents=True)
    pid = processes.start(cloud, "program", ["true"])
    processes.end([pid])
    assert processes.process_id(cloud, "program") is None


def test_passwords_are_generated_once_and_private(tmp_path: Path) -> None:
    """Two clouds have different passwords, one keeps its own, and nobody else may read them."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    made = Passwords.ensure(first)
    assert made == Passwords.ensure(first)
    assert made != Passwords.ensure(second)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert len(set(json.loads(first.read_text()).values())) == 6


def test_entries_are_merged_into_what_is_there(tmp_path: Path) -> None:
    """Entries of others stay, one of the same name is replaced, and the file is private from then on."""
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds:\n  work: {auth: {username: me}}\n  devcloud: {old: true}\ncache: {expiration_time: 60}\n")
    clouds_yaml.merge(file, {"devcloud": ENTRY})
    content = yaml.safe_load(file.read_text())
    assert content == {
        "clouds": {"work": {"auth": {"username": "me"}}, "devcloud": ENTRY},
        "cache": {"expiration_time": 60},
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_removing_the_only_entries_removes_the_file(tmp_path: Path) -> None:
    """After `clean` there is no clouds.yaml where there was none before."""
    file = tmp_path / "openstack" / "clouds.yaml"
    clouds_yaml.merge(file, {"devcloud": ENTRY})
    clouds_yaml.merge(file, {"devcloud": None})
    assert not file.exists()


@pytest.mark.parametrize("text", ["clouds: [", "- a\n- b\n", "clouds: [a]\n"])
def test_a_clouds_yaml_that_is_none_is_left_alone(tmp_path: Path, text: str) -> None:
    """A file that can't be understood is named and not touched."""
    file = tmp_path / "clouds.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit, match="clouds.yaml"):
        clouds_yaml.merge(file, {"devcloud": ENTRY})
    assert file.read_text() == text


def test_settings_are_written_as_openstack_reads_them() -> None:
    """Truth values are lower case, as oslo.config wants them."""
    assert render({"DEFAULT": {"debug": False, "port": 1}, "api": {}}) == "[DEFAULT]\ndebug = false\nport = 1\n[api]\n"


def test_floating_ips_are_translated_both_ways() -> None:
    """A floating IP leads to its node, the node calls by it, and the others call by the router's address."""
    text = rules(Wiring("10.255.80.20", {"10.255.80.21": "10.20.0.5"}))
    assert "ip daddr 10.255.80.21 dnat to 10.20.0.5" in text
    own, router = text.index("ip saddr 10.20.0.5 snat to 10.255.80.21"), text.index("snat to 10.255.80.20")
    assert own < router
    assert "drop" not in text


def test_a_network_without_a_router_is_closed() -> None:
    """Without a router's address nothing leaves, and floating IPs lead nowhere."""
    text = rules(Wiring(None, {"10.255.80.21": "10.20.0.5"}))
    assert "drop" in text
    assert "dnat" not in text
