"""`create --dry-run`: the plan, what create would refuse, and what all nodes take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloudmesh_cluster.config.profile import near_profile, profile_named
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.plugins.payloads import missing_payloads
from cloudmesh_cluster.plugins.resolve import resolve
from tests.conftest import why_no_nodes
from tests.support.command_line import Answer, CommandLine
from tests.support.journalled import add_cluster

WHOLE = {"hadoop": ("hadoop", "Maven"), "hdfs": ("hadoop", "Maven"), "dask": ("dask", "PyPI")}


@pytest.fixture
def own_home(tmp_path: Path) -> Home:
    """Return an empty home."""
    return Home(tmp_path / "home", tmp_path / "cache")


def dry_run(cm: CommandLine, *words: str) -> Answer:
    """Run a dry run that nothing but this machine can refuse."""
    return cm("cluster", "create", *words, "--provider", "local", "--dry-run", expect=2 if why_no_nodes() else 0)


def test_the_totals_are_those_of_all_nodes(cm: CommandLine) -> None:
    """CPUs and memory of all nodes are summed up, beside what this machine has; what exceeds it is a warning."""
    if reason := why_no_nodes():
        pytest.skip(reason)
    answer = dry_run(cm, "t", "-p", "hadoop", "-n", "60", "-f", "json")
    totals = json.loads(answer.stdout)["totals"]
    (memory,) = (each for each in totals["room"] if each["what"] == "MiB of memory")

    assert (totals["nodes"], totals["cpus"], totals["memory"]) == (61, 61, 61 * 2048)
    assert memory["needed"] == 61 * 2048
    assert 0 < memory["left"]
    warned = f"all nodes together may use {memory['needed']} MiB of memory" in answer.stderr
    assert warned == (memory["needed"] > memory["left"])
    words = dry_run(cm, "t", "-p", "hadoop", "-n", "60").stdout
    assert "in all: 61 nodes, 61 CPUs, 124928 MiB of memory\n" in words
    assert "to fetch: " in words


def test_a_dry_run_refuses_what_create_refuses(cm: CommandLine) -> None:
    """The plan is shown, then everything that is missing, with exit 2; so is a name that is taken."""
    words = ("cluster", "create", "t", "--provider", "local", "--dry-run")
    refused = cm(*words, "--image", "/nowhere/image.tar", expect=2)
    assert "no image /nowhere/image.tar" in refused.stderr
    assert "t-worker-2" in refused.stdout
    add_cluster(Home(cm.home, cm.cache), "t")
    assert "there is a cluster named 't' already" in cm(*words, expect=2).stderr
    cm("cluster", "scale", "t", "+1", "--dry-run", expect=2)


@pytest.mark.parametrize(
    ("cluster", "near"),
    [
        ("hadop", "hadoop"), ("hadoop2", "hadoop"), ("my-hadoop", "hadoop"), ("spark-test", "spark"),
        ("sprak", "spark"), ("t", ""), ("web", ""), ("lab-7", ""), ("hadoop", ""), ("default", ""), ("my-default", ""),
    ],
)  # fmt: skip
def test_a_name_that_may_mean_a_profile(own_home: Home, cluster: str, near: str) -> None:
    """A misspelt profile, or one among other words, is seen; a profile's own name and other words are not."""
    assert near_profile(own_home, cluster) == near


def test_a_misspelt_name_is_said_in_the_plan(cm: CommandLine) -> None:
    """The plan says why the profile is `default`, and which one may have been meant; with -p nothing is said."""
    said = dry_run(cm, "hadop").stdout
    assert "profile default (no profile is called hadop)" in said
    assert "warning: no profile is called 'hadop': 'default' is used" in said
    assert "for hadoop: -p hadoop" in said
    assert json.loads(dry_run(cm, "hadop", "-f", "json").stdout)["warnings"]
    plain = dry_run(cm, "t").stdout
    assert "profile default (no profile is called t)" in plain
    assert "warning:" not in plain
    asked = dry_run(cm, "hadop", "-p", "default").stdout
    assert "called" not in asked
    assert "warning:" not in asked


def test_what_is_to_be_fetched(own_home: Home) -> None:
    """Payloads that are not in the cache are named; a part of a plugin has that of the whole."""

    def missing(name: str) -> list[str]:
        return missing_payloads(resolve(profile_named(own_home, name).plugins, own_home), own_home)

    for name in WHOLE:
        (words,) = missing(name)
        assert words.startswith(f"{WHOLE[name][0]} ")
        assert words.endswith(f" from {WHOLE[name][1]}")
    assert missing("slurm") == []
