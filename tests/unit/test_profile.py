"""Profiles: every key read, every problem reported, every override checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster.config.profile import (
    find_profiles,
    load_profile,
    profile_for,
    profile_named,
    validate,
    with_overrides,
)
from cloudmesh_cluster.config.profile_yaml import plain, to_yaml
from cloudmesh_cluster.core.codec import decode, encode
from cloudmesh_cluster.core.errors import InvalidInput, NotFound, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import (
    Check,
    Expectation,
    PluginUse,
    Profile,
    RoleScript,
    RoleSpec,
    Volume,
)

DATA = Path(__file__).parents[1] / "data" / "profiles"
BAD = sorted((DATA / "bad").glob("*.yaml"))


@pytest.fixture
def own(tmp_path: Path) -> Home:
    """Return an empty home."""
    home = Home(tmp_path / "home", tmp_path / "cache")
    home.profiles.mkdir(parents=True)
    return home


def test_every_key() -> None:
    """A profile with every key there is becomes these dataclasses."""
    common = b"#!/bin/sh\necho common\n"
    settings = {
        "version": "1.10",
        "enabled": "no",
        "listen": "22:22",
        "mode": "0755",
        "extra": {"words": ["yes", "null"]},
    }

    assert load_profile(DATA / "good" / "full.yaml") == Profile(
        name="full",
        source=str(DATA / "good" / "full.yaml"),
        provider="lab",
        user="alice",
        mesh="master-to-workers",
        master=RoleSpec(1, image="debian-12", flavor="m1.small", cpus=1.5, memory=512),
        worker=RoleSpec(3, cpus=2.0, memory=2048, volumes=(Volume(10, "/data"), Volume(20, "/scratch"))),
        plugins=(PluginUse("plain"), PluginUse("tuned", settings)),
        scripts=(
            RoleScript("all", "common.sh", common),
            RoleScript("all", "inline", b"echo one\necho two\n"),
            RoleScript("worker", "common.sh", common),
        ),
        checks=(
            Check(
                "free disk",
                on="worker",
                run="df --output=avail /",
                expect=Expectation(exit=None, stdout="[0-9]{7}", stderr="^$", count=2),
                within=120.0,
            ),
            Check("ssh", port=22, within=5.0),
            Check("hosts", on="cluster", file="/etc/hosts", expect=Expectation(stdout="master")),
        ),
    )


def test_defaults() -> None:
    """A profile that only states its name is one master, two workers, nothing else."""
    path = DATA / "good" / "least.yaml"

    assert load_profile(path) == Profile(name="least", source=str(path))


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_every_problem(path: Path) -> None:
    """A bad profile gives exactly the problems of the file beside it, all at once, each with its place."""
    expected = path.with_suffix(".problems").read_text()
    found = "".join(f"{problem}\n" for problem in validate(path)).replace(f"{path.parent}/", "")

    assert found == expected
    with pytest.raises(InvalidInput) as caught:
        load_profile(path)
    assert len(caught.value.problems) == len(expected.splitlines())


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is a problem like any other."""
    with pytest.raises(InvalidInput, match="can't be read: No such file"):
        load_profile(tmp_path / "none.yaml")


def test_built_in_profiles(own: Home) -> None:
    """The built-in profiles are there, valid, and of the documented sizes."""
    assert {"dask", "default", "hadoop"} <= set(find_profiles(own))
    assert all(validate(path) == [] for path in find_profiles(own).values())
    assert profile_named(own, "default").plugins == ()
    hadoop = profile_named(own, "hadoop")
    assert [use.name for use in hadoop.plugins] == ["hadoop"]
    assert (hadoop.master.memory, hadoop.worker.memory, hadoop.worker.count) == (2048, 2048, 2)


def test_the_users_profiles_win(own: Home) -> None:
    """A profile in the user's home takes the place of the built-in one of that name."""
    (own.profiles / "default.yaml").write_text("roles: {worker: {count: 5}}\n")
    (own.profiles / ".hidden.yaml").write_text("x")

    assert profile_named(own, "default").worker.count == 5
    assert ".hidden" not in find_profiles(own)


def test_unknown_profile(own: Home) -> None:
    """An unknown name is an error that knows the names there are."""
    with pytest.raises(NotFound) as caught:
        profile_named(own, "hadop")

    assert {"dask", "default", "hadoop"} <= set(caught.value.known)
    assert caught.value.hint == "did you mean 'hadoop'?"


def test_a_name_that_differs_from_the_file(own: Home) -> None:
    """A profile found by its file's name can't call itself something else."""
    (own.profiles / "mine.yaml").write_text("name: yours\n")

    with pytest.raises(InvalidInput, match=r"mine\.yaml:1:7: name: expected 'mine'"):
        profile_named(own, "mine")


def test_a_path_is_a_profile(own: Home, tmp_path: Path) -> None:
    """A word with a slash or the suffix is a file, whose profile may have any name."""
    (tmp_path / "p.yaml").write_text("name: other\n")

    assert profile_named(own, str(tmp_path / "p.yaml")).name == "other"


@pytest.mark.parametrize(
    ("name", "cluster", "expected"),
    [(None, "hadoop", "hadoop"), (None, "t", "default"), ("hadoop", "t", "hadoop"), ("default", "hadoop", "default")],
)
def test_name_picks_profile(own: Home, name: str | None, cluster: str, expected: str) -> None:
    """The named profile, else that of the cluster's name, else `default`."""
    assert profile_for(own, name, cluster=cluster).name == expected


@pytest.mark.parametrize("name", ["full", "least"])
def test_yaml_and_back(name: str, tmp_path: Path) -> None:
    """What `profile show` prints is a profile that reads as the same one."""
    profile = load_profile(DATA / "good" / f"{name}.yaml")
    (tmp_path / "again.yaml").write_text(to_yaml(profile))

    assert replace(load_profile(tmp_path / "again.yaml"), source=profile.source) == profile


def test_journal_and_back() -> None:
    """The journal keeps a profile as it is."""
    profile = load_profile(DATA / "good" / "full.yaml")

    assert decode(Profile, encode(profile)) == profile


def test_plain_leaves_out_what_is_not_set() -> None:
    """Plain data holds what is set and the defaults that matter, no empty values."""
    assert plain(Profile("p", "f")) == {
        "name": "p",
        "user": "cm",
        "mesh": "all",
        "listen_to": "cluster",
        "roles": {"master": {"count": 1}, "worker": {"count": 2}},
    }


def test_options_override(own: Home) -> None:
    """Options of the command line win over the profile; image and flavor count for both roles."""
    changed = with_overrides(
        profile_named(own, "default"), provider="lab", workers=7, image="i", flavor="f", settings=["provider=x"]
    )

    assert changed.provider == "lab"
    assert changed.worker == RoleSpec(7, image="i", flavor="f")
    assert changed.master == RoleSpec(1, image="i", flavor="f")


def test_settings_override() -> None:
    """`--set` reaches plugin settings and paths of the profile; everything else stays as it is."""
    profile = load_profile(DATA / "good" / "full.yaml")
    changed = with_overrides(
        profile,
        settings=[
            "tuned.version=2.0=rc1",
            "tuned.extra.more=no",
            "plain.a.b=1",
            "tuned.mode=",
            "roles.worker.memory=4G",
            "user=bob",
            "mesh=none",
        ],
    )

    assert (changed.user, changed.mesh, changed.worker) == ("bob", "none", replace(profile.worker, memory=4096))
    assert changed.plugins == (
        PluginUse("plain", {"a": {"b": "1"}}),
        PluginUse(
            "tuned",
            {
                "version": "2.0=rc1",
                "enabled": "no",
                "listen": "22:22",
                "mode": None,
                "extra": {"words": ["yes", "null"], "more": "no"},
            },
        ),
    )
    untouched = ("name", "source", "provider", "master", "scripts", "checks")
    assert all(getattr(changed, key) == getattr(profile, key) for key in untouched)
    assert profile == load_profile(DATA / "good" / "full.yaml")


@pytest.mark.parametrize("workers", [0, -1, 10_001])
def test_number_of_workers(own: Home, workers: int) -> None:
    """Fewer than one worker, or more than can be named, is wrong usage."""
    with pytest.raises(UsageError, match=f"-n {workers}: "):
        with_overrides(profile_named(own, "default"), workers=workers)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("user", "--set user: expected KEY=VALUE"),
        ("=x", "--set =x: expected KEY=VALUE"),
        ("a..b=x", "--set a..b=x: expected KEY=VALUE"),
        ("hadop.x=1", "--set hadop.x=1: 'hadop' is neither a plugin of profile 'hadoop' nor one of its keys"),
        ("hadoop=1", "--set hadoop=1: names a plugin but no setting of it"),
        ("checks=1", "--set checks=1: checks can't be set here"),
        ("roles.worker.memroy=2G", "--set roles.worker.memroy=2G: roles.worker.memroy: unknown key"),
        ("roles.wroker.memory=2G", "--set roles.wroker.memory=2G: roles.wroker: unknown key"),
        ("roles.master.count=2", "--set roles.master.count=2: roles.master.count: a cluster has exactly 1 master"),
        ("roles.worker.count=0", "--set roles.worker.count=0: roles.worker.count: expected at least 1, got 0"),
        ("roles.worker.memory=2X", "--set roles.worker.memory=2X: roles.worker.memory: expected a size"),
        ("mesh=none2", "--set mesh=none2: mesh: 'none2' is unknown: expected all or"),
        ("user=root", "--set user=root: user: 'root' is an account of the system"),
    ],
)
def test_wrong_settings(own: Home, setting: str, message: str) -> None:
    """A setting that is malformed, unknown or of the wrong type is wrong usage that quotes the option."""
    with pytest.raises(UsageError) as caught:
        with_overrides(profile_named(own, "hadoop"), settings=[setting])

    assert caught.value.message.startswith(message)
