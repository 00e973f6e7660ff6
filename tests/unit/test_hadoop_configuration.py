"""Tests of what the plugin `hadoop` computes from the sizes and the number of nodes, by its own scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import PluginUse, RoleName, RoleSpec
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.plugins.secret_settings import assignments
from cloudmesh_cluster.plugins.settings import private_texts, settings_sh

# This machine need not have a user and a group hadoop.
OWNERS = """
chown() { :; }
install() { local words=("$@"); [[ $1 != -d ]] || words=("${@:1:3}" "${@: -1}"); command install "${words[@]}"; }
"""
SCRIPT = """
source "$0/files/common.sh"; source "$0/files/configure.sh"
refuse_foreign() { :; }  # tests work in /tmp
conf=$1; write_configuration
"""
JVM_BEYOND_HEAP = 100  # MiB that a daemon's process takes beside its heap, about


class Configuration:
    """The files that the plugin writes for a node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.properties = {
            str(entry.findtext("name")): str(entry.findtext("value"))
            for file in folder.glob("*-site.xml")
            for entry in ET.parse(file).getroot().iter("property")  # noqa: S314  # our own files
        }

    def __getitem__(self, name: str) -> str:
        return self.properties[name]

    def number(self, name: str) -> int:
        """Return a property that is a whole number."""
        return int(self[name])

    def heap(self, role: RoleName) -> int:
        """Return the heap of each daemon of a role, in MiB."""
        text = (self.folder / "hadoop-env.sh").read_text()
        (heap,) = re.findall(rf"^HADOOP_{role.upper()}_HEAP=(\d+)$", text, re.MULTILINE)
        return int(heap)


def configure(
    tmp_path: Path,
    *,
    plugin: str = "hadoop",
    memory: int = 2048,
    cpus: float = 1.0,
    workers: int = 2,
    role: RoleName = "worker",
    **given: str,
) -> Configuration:
    """Return what the plugin, or a part of it, writes on a node of a cluster."""
    folder, target = tmp_path / plugin, tmp_path / f"conf-{plugin}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(resource("scripts", "hadoop"), folder)
    shutil.copy(resource("scripts", "boot", "plugin.sh"), folder)
    (chosen,) = resolve([PluginUse(plugin, {"java_home": "/usr/lib/jvm/x", **given})], Home(tmp_path, tmp_path))
    spec = RoleSpec(count=workers, memory=memory, cpus=cpus)
    (folder / "settings.sh").write_bytes(settings_sh(chosen, master=spec, worker=spec, role=role))
    names = [f"t-worker-{i}" for i in range(1, workers + 1)]
    environment = {
        "CM_CLUSTER": "t",
        "CM_ROLE": role,
        "CM_NODE": "t-master" if role == "master" else "t-worker-1",
        "CM_MASTER": "t-master",
        "CM_WORKERS": " ".join(names),
    }
    if secret := private_texts(chosen):
        (folder / "secrets").mkdir()
        (folder / "secrets" / "_settings.sh").write_bytes(assignments(secret))
    words = ["bash", "-c", OWNERS + SCRIPT, str(folder), str(target)]
    subprocess.run(words, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    return Configuration(target)


@pytest.mark.parametrize(("memory", "cpus"), [(1024, 0.5), (1024, 4), (1536, 1), (2048, 2), (16384, 4), (131072, 32)])
def test_what_a_worker_promises_fits_its_memory(tmp_path: Path, memory: int, cpus: float) -> None:
    """Two daemons and all containers of YARN; two tasks and a master of the application fit into the smallest."""
    found = configure(tmp_path, memory=memory, cpus=cpus)
    yarn = found.number("yarn.nodemanager.resource.memory-mb")
    task, app_master = found.number("mapreduce.map.memory.mb"), found.number("yarn.app.mapreduce.am.resource.mb")

    assert yarn + 2 * (found.heap("worker") + JVM_BEYOND_HEAP) <= memory
    assert app_master + task <= yarn
    assert found.number("yarn.nodemanager.resource.cpu-vcores") >= 2
    for name, container in (
        ("mapreduce.map.java.opts", task),
        ("mapreduce.reduce.java.opts", task),
        ("yarn.app.mapreduce.am.command-opts", app_master),
    ):
        (heap,) = re.findall(r"-Xmx(\d+)m", found[name])
        assert int(heap) < container
    assert found.number("mapreduce.task.io.sort.mb") < task * 3 / 4


@pytest.mark.parametrize("memory", [768, 1024, 2048, 131072])
def test_a_part_has_the_memory_of_the_other(tmp_path: Path, memory: int) -> None:
    """One daemon a node, and all that it leaves belongs to YARN, if there is YARN."""
    whole, hdfs, yarn = (configure(tmp_path, plugin=name, memory=memory) for name in ("hadoop", "hdfs", "yarn"))
    offered = "yarn.nodemanager.resource.memory-mb"

    assert yarn.number(offered) >= whole.number(offered)
    assert yarn.number(offered) + yarn.heap("worker") + JVM_BEYOND_HEAP <= memory
    for part in (hdfs, yarn):
        assert whole.heap("worker") <= part.heap("worker") <= memory / 7
        assert whole.heap("master") <= part.heap("master") <= memory / 2
    assert memory < 2048 or yarn.number(offered) > whole.number(offered)


def test_a_part_is_configured_alone(tmp_path: Path) -> None:
    """HDFS knows nothing of YARN; YARN takes no file system for shared that is not, unless it is told of one."""
    hdfs, yarn = (configure(tmp_path, plugin=name) for name in ("hdfs", "yarn"))
    told = configure(tmp_path, plugin="yarn", core_site="fs.defaultFS=hdfs://elsewhere:8020")

    assert hdfs["fs.defaultFS"] == "hdfs://t-master:8020"
    assert hdfs["dfs.replication"] == "2"
    assert not [name for name in hdfs.properties if name.startswith(("yarn.", "mapreduce."))]
    assert yarn["fs.defaultFS"] == "file:///"
    assert yarn["yarn.log-aggregation-enable"] == "false"
    assert not [name for name in yarn.properties if name.startswith("dfs.")]
    assert told["fs.defaultFS"] == "hdfs://elsewhere:8020"


def test_the_memory_of_the_machine_is_of_no_interest(tmp_path: Path) -> None:
    """A local node sees that of the whole machine: only what its role declares counts."""
    small, large = (configure(tmp_path, memory=memory) for memory in (1024, 1048576))
    name = "yarn.nodemanager.resource.memory-mb"

    assert small.number(name) < 1024
    assert large.number(name) > 900_000


@pytest.mark.parametrize(
    ("workers", "wanted", "copies"),
    [(1, "0", "1"), (2, "0", "2"), (3, "0", "3"), (50, "0", "3"), (2, "5", "2"), (9, "5", "5")],
)
def test_blocks_have_as_many_copies_as_workers_can_hold(tmp_path: Path, workers: int, wanted: str, copies: str) -> None:
    """Three if nothing else is said."""
    assert configure(tmp_path, workers=workers, replication=wanted)["dfs.replication"] == copies


@pytest.mark.parametrize("seconds", [4, 8, 60])
def test_a_silent_worker_counts_as_dead_in_the_time_given(tmp_path: Path, seconds: int) -> None:
    """In HDFS after twice the recheck interval plus ten heartbeats; in YARN after its expiry and a third of it."""
    master = configure(tmp_path, role="master", dead_after=str(seconds))
    worker = configure(tmp_path, dead_after=str(seconds))
    beat = master.number("dfs.heartbeat.interval")
    recheck = master.number("dfs.namenode.heartbeat.recheck-interval")
    expiry = master.number("yarn.nm.liveness-monitor.expiry-interval-ms")

    assert 2 * recheck + 10_000 * beat == seconds * 1000
    assert expiry * 4 / 3 < seconds * 1000
    assert worker.number("dfs.heartbeat.interval") == 1


def test_properties_of_the_user_come_last(tmp_path: Path) -> None:
    """So that they win; separated by lines or semicolons, and whatever they hold is still XML."""
    found = configure(tmp_path, hdfs_site="dfs.replication=7;dfs.blocksize=64m", core_site="a.b=<x> & y=z\nc.d=1")

    assert found["dfs.replication"] == "7"
    assert found["dfs.blocksize"] == "64m"
    assert found["a.b"] == "<x> & y=z"
    assert found["c.d"] == "1"


def test_every_address_is_a_name_of_the_cluster(tmp_path: Path) -> None:
    """Which resolve to private addresses: no daemon is told to listen everywhere."""
    for role in ("master", "worker"):
        found = configure(tmp_path, role=role)
        addresses = {name: value for name, value in found.properties.items() if name.endswith("address")}
        assert len(addresses) > 10
        assert all(re.fullmatch(r"t-(master|worker-1):\d+", value) for value in addresses.values()), addresses


def test_keys_of_stores_are_for_hadoop_alone(tmp_path: Path) -> None:
    """Properties with secrets lie in files that others can't reach, and Hadoop's own file includes them."""
    found = configure(tmp_path, core_site="fs.s3a.secret.key=a&b;fs.s3a.endpoint=http://x;fs.s3a.access.key=c")
    file = found.folder / "secret" / "core-site.xml"
    main = (found.folder / "core-site.xml").read_text()
    secrets = {e.findtext("name"): e.findtext("value") for e in ET.parse(file).getroot()}  # noqa: S314

    assert found["fs.s3a.endpoint"] == "http://x"
    assert "a&amp;b" not in main
    assert "fs.s3a.secret.key" not in main
    assert f'href="{file}"><xi:fallback/>' in main
    assert secrets == {"fs.s3a.secret.key": "a&b", "fs.s3a.access.key": "c"}
    assert file.stat().st_mode & 0o777 == 0o640
    assert file.parent.stat().st_mode & 0o777 == 0o750
    assert not (configure(tmp_path, core_site="x=y").folder / "secret" / "core-site.xml").exists()
