"""Tests of plugins: reading plugin.yaml, settings with types, requirements, and what role scripts are told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cloudmesh_cluster.config.profile import load_profile, profile_named, with_overrides
from cloudmesh_cluster.core.errors import InvalidInput, NotFound
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import PluginUse, RoleSpec
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.core.targets import select
from cloudmesh_cluster.plugins.model import ChosenPlugin, Plugin
from cloudmesh_cluster.plugins.reader import find_plugins, load_plugin
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.plugins.settings import settings_sh

MASTER, WORKER = RoleSpec(count=1, memory=4096, cpus=2.0), RoleSpec(count=3, memory=1024, cpus=0.5)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a home without plugins of one's own."""
    return Home(tmp_path / "home", tmp_path / "cache")


def write(home: Home, name: str, text: str, **files: str) -> Path:
    """Write a plugin of one's own, and return its folder."""
    folder = home.plugins / name
    folder.mkdir(parents=True)
    (folder / "plugin.yaml").write_text(text)
    for file, content in files.items():
        (folder / file).write_text(content)
    return folder


def problems(folder: Path) -> list[str]:
    """Return the problems of a plugin, without the path of its file."""
    with pytest.raises(InvalidInput) as caught:
        load_plugin(folder)
    return [str(problem).removeprefix(f"{folder}/plugin.yaml:") for problem in caught.value.problems]


def shell(chosen: ChosenPlugin, name: str, *, master: RoleSpec = MASTER, worker: RoleSpec = WORKER) -> str:
    """Return a variable as bash sees it that has sourced a master's settings."""
    text = settings_sh(chosen, master=master, worker=worker, role="master")
    script = f'set -eu; {text.decode()}\nprintf %s "${{{name}}}"'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout


def test_the_built_in_plugins_are_sound(home: Home) -> None:
    """Each reads without a problem, and all that it names is there."""
    for name, folder in find_plugins(home).items():
        plugin = load_plugin(folder)
        assert plugin.name == name
        assert plugin.version
        assert any((plugin.folder / f"{script}.sh").exists() for script in ("all", "master", "worker"))
        for check in plugin.checks:
            program = check.run or ""
            prefix = f"/usr/local/lib/cm/plugins/{name}/"
            assert "/plugins/" not in program or prefix in program
            script = plugin.folder / program.removeprefix(prefix)
            assert not program.startswith(prefix) or script.stat().st_mode & 0o111


def test_hadoop_says_what_it_needs(home: Home) -> None:
    """A JRE from Debian, jars from Maven, the master first, and checks whose targets every cluster has."""
    plugin = load_plugin(resource("scripts", "hadoop"))

    assert plugin.packages == ("openjdk-17-jre-headless", "nftables")
    assert plugin.payload is not None
    assert plugin.order == ("master", "worker")
    pages = {port.name: port.number for port in plugin.ports if port.ui}
    assert pages == {"hdfs": 9870, "yarn": 8088, "history": 19888}
    assert [check.name for check in plugin.checks] == [
        "daemons serve",
        "live DataNodes",
        "running NodeManagers",
        "file of one node read on another",
        "word count on YARN",
    ]


def test_a_part_has_what_it_chooses_of_its_whole(home: Home) -> None:
    """Scripts, packages, payload and version are the whole's; settings, ports and checks are chosen by name."""
    whole, hdfs, yarn = (load_plugin(resource("scripts", name)) for name in ("hadoop", "hdfs", "yarn"))

    assert (hdfs.name, hdfs.whole, whole.whole) == ("hdfs", "hadoop", "hadoop")
    assert (hdfs.folder, hdfs.packages, hdfs.payload, hdfs.version) == (
        whole.folder, whole.packages, whole.payload, whole.version
    )  # fmt: skip
    assert {port.name for port in hdfs.ports} == {"hdfs", "hdfs-rpc", "datanode", "datanode-data", "datanode-rpc"}
    assert {"yarn", "nodemanager", "shuffle"} < {port.name for port in yarn.ports}
    assert not {port.name for port in yarn.ports} & {"hdfs", "history"}
    assert not {setting.name for setting in hdfs.settings} & {"history", "yarn_site", "mapred_site"}
    assert not {setting.name for setting in yarn.settings} & {"history", "hdfs_site", "replication"}
    assert [check.name for check in hdfs.checks] == [
        "daemons serve",
        "live DataNodes",
        "file of one node read on another",
    ]
    assert [check.name for check in yarn.checks] == [
        "daemons serve",
        "running NodeManagers",
        "container on every worker",
    ]


def test_parts_of_one_plugin_exclude_each_other(home: Home) -> None:
    """They have the same files on the nodes: who wants both takes the whole."""
    with pytest.raises(InvalidInput) as caught:
        resolve([PluginUse("spark"), PluginUse("hdfs"), PluginUse("yarn")], home)
    (problem,) = caught.value.problems

    assert str(problem).startswith("plugins hdfs and yarn: are parts of hadoop")
    assert [each.plugin.name for each in resolve([PluginUse("spark"), PluginUse("hdfs")], home)] == ["spark", "hdfs"]


def test_a_part_without_its_whole_is_refused(home: Home) -> None:
    """And so is the choice of what the whole has not."""
    settings = "settings: {size: {description: of it}}\n"
    write(home, "whole", f"description: x\n{settings}checks: [{{name: it runs, run: 'true'}}]\n")
    lost = write(home, "lost", "description: x\npart_of: hole\n")
    wrong = write(home, "wrong", "description: x\npart_of: whole\nsettings: [sise]\nports: [web]\nchecks: [runs]\n")
    right = write(home, "right", "description: x\npart_of: whole\nsettings: [size]\nchecks: [it runs]\n")

    assert problems(lost) == [f"2:10: part_of: there is no plugin 'hole' in {home.plugins}"]
    assert [each.partition(": ")[2] for each in problems(wrong)] == [
        "settings[0]: 'sise' is unknown: expected size (did you mean 'size'?)",
        "ports[0]: the plugin of which this is a part has none",
        "checks[0]: 'runs' is unknown: expected it runs (did you mean 'it runs'?)",
    ]
    assert [setting.name for setting in load_plugin(right).settings] == ["size"]


def test_the_profile_hadoop_takes_settings_from_the_command_line(home: Home) -> None:
    """`--set hadoop.KEY=VALUE` gets the type of the setting."""
    profile = with_overrides(
        profile_named(home, "hadoop"),
        settings=["hadoop.replication=2", "hadoop.history=false", "hadoop.dead_after=1m", "hadoop.source=a b'c"],
    )
    (chosen,) = resolve(profile.plugins, home)

    assert chosen.settings["replication"] == 2
    assert chosen.settings["history"] is False
    assert chosen.settings["dead_after"] == 60
    assert shell(chosen, "CM_SETTING_SOURCE") == "a b'c"
    assert shell(chosen, "CM_SETTING_DEAD_AFTER") == "60"
    assert shell(chosen, "CM_SETTING_HISTORY") == "false"
    assert shell(chosen, "CM_SETTING_CORE_SITE") == ""


def test_wrong_settings_are_named_all_at_once(home: Home, tmp_path: Path) -> None:
    """With the place in the profile, the type that was expected, and the name that was meant."""
    profile = tmp_path / "p.yaml"
    settings = ("replication: many", "histroy: false", "dead_after: 1 day")
    profile.write_text("plugins:\n  - hadoop:\n" + "".join(f"      {line}\n" for line in settings))
    with pytest.raises(InvalidInput) as caught:
        resolve(load_profile(profile).plugins, home)

    replication, history, dead_after = (str(problem) for problem in caught.value.problems)
    assert replication == f"{profile}:3:20: plugins.hadoop.replication: expected a whole number, got 'many'"
    assert history == f"{profile}:4:7: plugins.hadoop.histroy: unknown key (did you mean 'history'?)"
    assert dead_after.startswith(f"{profile}:5:19: plugins.hadoop.dead_after: expected a duration")


def test_a_setting_has_its_bounds(home: Home) -> None:
    """An integer is at least `least`, and what has `choices` is one of them; so is a default."""
    uses = [PluginUse("zookeeper", {"servers": "2"}), PluginUse("ipyparallel", {"engines": "-1"})]
    with pytest.raises(InvalidInput) as caught:
        resolve(uses, home)
    assert [str(problem).partition(": ")[2].partition(" (")[0] for problem in caught.value.problems] == [
        "plugins.zookeeper.servers: '2' is unknown: expected 1 or 3 or 5",
        "plugins.ipyparallel.engines: expected at least 0, got -1",
    ]
    (right,) = resolve([PluginUse("zookeeper", {"servers": "5"})], home)
    assert right.settings["servers"] == 5
    text = "description: x\nsettings: {a: {type: integer, default: 0, least: 1, description: y}}\n"
    (problem,) = problems(write(home, "p", text))
    assert problem.endswith("expected at least 1, got 0")


def test_sizes_of_nodes_are_told_by_role(home: Home) -> None:
    """Of this node and of the workers, in MiB and whole CPUs, with defaults where the profile is silent."""
    (chosen,) = resolve([PluginUse("hadoop")], home)

    assert shell(chosen, "CM_MEMORY_MB") == "4096"
    assert shell(chosen, "CM_CPUS") == "2"
    assert shell(chosen, "CM_WORKER_MEMORY_MB") == "1024"
    assert shell(chosen, "CM_WORKER_CPUS") == "1"
    assert shell(chosen, "CM_MEMORY_MB", master=RoleSpec(count=1)) == "2048"


def test_a_port_has_the_number_that_its_setting_says(home: Home) -> None:
    """The default of the plugin, or what the profile says; what is no port is refused with its bounds."""
    numbers = [
        [port.number for port in resolve([PluginUse("notebook", settings)], home)[0].plugin.ports]
        for settings in ({}, {"port": "8899"})
    ]

    assert numbers == [[8888], [8899]]
    with pytest.raises(InvalidInput, match=r"plugins\.notebook\.port: expected at most 65535, got 65536"):
        resolve([PluginUse("notebook", {"port": "65536"})], home)
    folder = write(home, "odd", "description: d\nports: {p: {number: 1, setting: port}}\n")
    assert problems(folder) == ["2:33: ports.p.setting: 'port' is no setting of type port"]


def test_a_plugin_of_the_user_wins_over_a_built_in_one(home: Home) -> None:
    """The name decides."""
    folder = write(home, "hadoop", "description: mine\n")

    assert find_plugins(home)["hadoop"] == folder


def test_required_plugins_come_first(home: Home) -> None:
    """Once each, also when two require the same one; settings go to the plugin they were given for."""
    write(home, "base", "description: b\nsettings: {n: {type: integer, default: 1, description: d}}\n")
    write(home, "left", "description: l\nrequires: [base]\n")
    write(home, "right", "description: r\nrequires: [base, left]\n")
    chosen = resolve([PluginUse("right"), PluginUse("base", {"n": "5"})], home)

    assert [each.plugin.name for each in chosen] == ["base", "left", "right"]
    assert chosen[0].settings == {"n": 5}


def test_plugins_that_require_each_other_are_refused(home: Home) -> None:
    """The circle is shown."""
    write(home, "one", "description: 1\nrequires: [two]\n")
    write(home, "two", "description: 2\nrequires: [one]\n")
    with pytest.raises(InvalidInput, match="one -> two -> one"):
        resolve([PluginUse("one")], home)


def test_an_unknown_plugin_is_refused_with_the_one_that_was_meant(home: Home) -> None:
    """As everything unknown."""
    with pytest.raises(NotFound) as caught:
        resolve([PluginUse("hadop")], home)

    assert caught.value.hint == "did you mean 'hadoop'?"


def test_all_problems_of_a_plugin_are_named_by_line_and_column(home: Home) -> None:
    """At once."""
    folder = write(
        home,
        "bad",
        "description: x\n"
        "packges: [a]\n"
        "packages: ['two words']\n"
        "settings:\n"
        "  Name-1: {type: text, description: d}\n"
        "  size: {type: sise, description: d}\n"
        "  n: {type: integer, default: many, description: d}\n"
        "ports: {web: {number: 70000}}\n"
        "order: [slave]\n"
        "payload: {kind: maven, pom: pom.xml, lock: jars.sha256, keep: [{from: '(', to: x}]}\n"
        "checks:\n"
        "  - {name: c}\n",
    )
    found = problems(folder)

    assert [problem.split(":")[0] for problem in found] == ["2", "3", "5", "6", "7", "8", "9", "10", "10", "10", "12"]
    for problem, words in zip(
        found,
        [
            "packges: unknown key (did you mean 'packages'?)",
            "expected the name of a Debian package, got 'two words'",
            "'Name-1' is no name for a setting",
            "'sise' is unknown",
            "expected a whole number, got 'many'",
            "expected at most 65535, got 70000",
            "'slave' is unknown: expected master or worker",
            "there is no file pom.xml",
            "there is no file jars.sha256",
            "is no regular expression",
            "expected exactly one of run, port and file",
        ],
        strict=True,
    ):
        assert words in problem


def test_a_plugin_needs_no_more_than_a_description(home: Home) -> None:
    """All else has a default."""
    plugin = load_plugin(write(home, "tiny", "description: tiny\n"))

    assert plugin == Plugin("tiny", "tiny", "", home.plugins / "tiny")


def test_the_checks_of_hadoop_have_targets_in_the_smallest_cluster(home: Home) -> None:
    """One master and one worker."""
    from cloudmesh_cluster.core.model import Node

    nodes = (
        Node("t-master", "master", 0, "running", "10.0.0.2"),
        Node("t-worker-1", "worker", 1, "running", "10.0.0.3"),
    )
    for check in load_plugin(resource("scripts", "hadoop")).checks:
        assert check.on == "cluster" or select(nodes, check.on)
