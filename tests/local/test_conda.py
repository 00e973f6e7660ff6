"""conda environments on real nodes: the same everywhere, proved; whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster.conda.channels import Channel, channels_of
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node
from cloudmesh_cluster.plugins.certificates import node_certificate
from tests.support.command_line import Answer, CommandLine
from tests.support.conda_channel import VERSION, Served, address_for_nodes, make_channel, require_tools, serving

ENVIRONMENT = "/opt/anaconda/envs/py311"
SECRET = "tk-4f1bb2a9c0"
MODULE = f"lib/python{VERSION}/site-packages/greet/__init__.py"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a channel with a real Python."""
    require_tools()
    return make_channel(tmp_path_factory.mktemp("conda") / "channel")


@pytest.fixture(scope="module")
def served(channel: Path) -> Iterator[Served]:
    """Return the channel behind an HTTP server that counts."""
    with serving(channel) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine, served: Served, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Return `cm` with four nodes, the environment py311 with the older greet, and no packages in its cache."""
    cache = tmp_path_factory.mktemp("cache")
    for folder in shared_cm.cache.iterdir():
        if folder.name != "conda":
            (cache / folder.name).symlink_to(folder)
    cm = CommandLine(shared_cm.home, cache)
    providers = cm.home / "providers.yaml"
    providers.touch(mode=0o600)
    providers.write_text("near: {type: local, host_access: true}\n")  # the head fetches from a channel of this machine
    cm("cluster", "create", "c", "-p", "default", "--provider", "near", "-n", "3", timeout=900)
    cm("conda", "create", "c", "-n", "py311", "-c", served.address, "python", "greet=0.1")
    return cm


def greetings(cm: CommandLine) -> set[str]:
    """Return what `greet` says on the nodes; every node must say something."""
    rows = json.loads(cm("cluster", "cmd", "c", "-f", "json", "--", f"{ENVIRONMENT}/bin/greet").stdout)
    assert len(rows) >= 4
    return {row["stdout"].split(" from ")[0] for row in rows}


def check(cm: CommandLine, *words: str, expect: int = 0) -> list[dict[str, object]]:
    """Return the rows of `cm conda check`."""
    rows: list[dict[str, object]] = json.loads(cm("conda", "check", "c", *words, "-f", "json", expect=expect).stdout)
    return rows


def on(cm: CommandLine, node: str, line: str) -> Answer:
    """Run a shell line on nodes."""
    return cm("cluster", "cmd", "c", "-t", node, "-f", "json", "--", line)


def test_all_nodes_have_the_same_fetched_once(cluster: CommandLine, served: Served) -> None:
    """A lock is solved once, fetched once, the same on four nodes; commands run the environment's own Python."""
    assert sorted(served.packages()) == sorted(set(served.packages()))
    assert [name.split("-")[0] for name in sorted(served.packages())] == ["greet", "python"]
    assert greetings(cluster) == {"greet 0.1"}
    [row] = check(cluster)
    assert (row["what"], row["nodes"], row["ok"]) == ("same", "master,worker-[1-3]", True)
    shebang = on(cluster, "worker-1", f"head -n 1 {ENVIRONMENT}/bin/greet").stdout
    assert "/opt/anaconda/.environments/py311/" in shebang
    listed = json.loads(cluster("conda", "list", "c", "-f", "json").stdout)
    assert [(row["nodes"], row["name"]) for row in listed] == [
        ("master,worker-[1-3]", "greet"), ("master,worker-[1-3]", "python"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "back", "what", "item"),
    [
        (f"cp -p {MODULE} /tmp && echo '#' >>{MODULE}", f"mv /tmp/__init__.py {MODULE}", "file", MODULE),
        ("chmod 700 bin/greet", "chmod 755 bin/greet", "file", "bin/greet"),
        ("touch share", "rm share", "file", "share"),
        ("mv conda-meta/greet*.json /tmp", "mv /tmp/greet*.json conda-meta", "package", "greet"),
        ("mv bin/python bin/p", "mv bin/p bin/python", "interpreter", ""),
    ],
)
def test_one_change_on_one_node_is_named(cluster: CommandLine, change: str, back: str, what: str, item: str) -> None:
    """A file's content or mode, one too many, a package, the interpreter: the node and the thing are named, exit 3."""
    on(cluster, "worker-2", shlex.join(["sudo", "sh", "-c", f"cd {ENVIRONMENT}/ && {change}"]))
    try:
        rows = check(cluster, "-n", "py311", expect=3)
    finally:
        on(cluster, "worker-2", shlex.join(["sudo", "sh", "-c", f"cd {ENVIRONMENT}/ && {back}"]))
    assert {row["nodes"] for row in rows} == {"worker-2"}
    assert (what, item) in {(row["what"], row["item"]) for row in rows}
    assert check(cluster)[0]["ok"]


def test_a_damaged_node_is_mended(cluster: CommandLine) -> None:
    """`check --fix` brings the environment anew to the one node that differs; then all have the same, which works."""
    line = f"cd {ENVIRONMENT}/ && rm -r conda-meta bin/python && echo x >>{MODULE} && touch odd"
    on(cluster, "worker-2", shlex.join(["sudo", "sh", "-c", line]))
    fixed = cluster("conda", "check", "c", "-n", "py311", "--fix", "-f", "json")

    assert [(row["what"], row["nodes"]) for row in json.loads(fixed.stdout)] == [("same", "master,worker-[1-3]")]
    assert "worker-2" in fixed.stderr
    assert "worker-1" not in fixed.stderr
    assert greetings(cluster) == {"greet 0.1"}
    assert "of --venv there is no record" in cluster("conda", "check", "c", "--venv", "/x", "--fix", expect=2).stderr


def test_post_link_scripts(cluster: CommandLine, served: Served) -> None:
    """A package's post-link script is run on every node and what it says is told; one that fails undoes all."""
    made = cluster("conda", "create", "c", "-n", "r", "-c", served.address, "r-tiny")
    index = on(cluster, "all", "cat /opt/anaconda/envs/r/lib/R/index")
    broken = cluster("conda", "install", "c", "-n", "r", "r-broken", expect=1)
    [same] = check(cluster, "-n", "r")
    cluster("conda", "remove", "c", "-n", "r", "--all")

    assert made.stderr.count("package r-tiny says: r-tiny 1.0 is indexed") == 1
    assert [row["stdout"] for row in json.loads(index.stdout)] == ["tiny\n"] * 4
    assert "the post-link script of package r-broken failed: no compiler here" in broken.stderr
    assert (same["what"], same["nodes"], same["ok"]) == ("same", "master,worker-[1-3]", True)


def test_the_head_fetches_for_all(cluster: CommandLine, channel: Path, tmp_path: Path) -> None:
    """Each package leaves the channel once, for the head, which serves nodes without a way out; no token is left."""
    here = CommandLine(cluster.home, tmp_path)
    routes = {row["stdout"].strip() for row in json.loads(on(cluster, "worker", "ip route show default").stdout)}
    on(cluster, "worker", "sudo ip route del default")
    with serving(channel, address=address_for_nodes()) as served:
        words = ("-c", f"{served.address}/t/{SECRET}", "--fetch", "head", "greet", "r-tiny")
        here("conda", "create", "c", "-n", "far", *words)
        on(cluster, "worker-3", "sudo rm -r /opt/anaconda/envs/far/lib")
        here("conda", "check", "c", "-n", "far", "--fix")
    [same] = check(cluster, "-n", "far")
    found = on(cluster, "all", "sudo grep -rlsaF tk-4f1bb2a9c[0] /opt/anaconda /tmp /root || true")
    on(cluster, "worker", f"sudo ip route add {routes.pop()}")
    cluster("conda", "remove", "c", "-n", "far", "--all")

    assert sorted(name.split("-1.0")[0].split("-0.2")[0] for name in served.packages()) == [
        "greet", f"python-{sys.version.split()[0]}-0_cpython.conda", "r-tiny", "tiny"
    ]  # fmt: skip
    assert not (tmp_path / "conda" / "packages").exists()
    assert (same["what"], same["nodes"], same["ok"]) == ("same", "master,worker-[1-3]", True)
    assert {row["stdout"] for row in json.loads(found.stdout)} == {""}


def test_killed_in_the_middle_of_install(cluster: CommandLine) -> None:
    """The old environment works on every node after kill -9; the next install finishes, and what was killed is told."""
    words = cluster.argv("conda", "install", "c", "-n", "py311", "greet=0.2")
    running = subprocess.Popen(words, env=cluster.environment(), stderr=subprocess.PIPE, text=True, cwd="/")
    assert running.stderr is not None
    for line in running.stderr:
        if "build py311 done" in line:  # now it is on its way to the nodes
            break
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    running.stderr.close()

    assert greetings(cluster) == {"greet 0.1"}
    assert check(cluster, "-n", "py311")[0]["ok"]
    assert cluster("cluster", "scale", "c", "+1", expect=2).stderr.count("cm cluster resume c")
    cluster("conda", "install", "c", "-n", "py311", "greet=0.2")
    assert greetings(cluster) == {"greet 0.2"}
    assert check(cluster, "-n", "py311")[0]["ok"]
    history = json.loads(cluster("cluster", "history", "c", "-f", "json").stdout)
    assert [row["state"] for row in history if row["kind"] == "conda-install"][-2:] == ["superseded", "done"]


def test_a_node_that_cannot_follow_holds_all_back(cluster: CommandLine, served: Served) -> None:
    """Where one node has something else in the environment's place, no node gets it, and that stays as it was."""
    on(cluster, "worker-3", "sudo mkdir -p /opt/anaconda/envs/extra/mine")
    failed = cluster("conda", "create", "c", "-n", "extra", "-c", served.address, "tiny", expect=1)

    assert "/opt/anaconda/envs/extra is there already" in failed.stderr
    assert on(cluster, "worker-3", "ls /opt/anaconda/envs/extra").stdout.count("mine")
    there = json.loads(on(cluster, "master,worker-1,worker-2", "ls -A /opt/anaconda/envs").stdout)
    assert {row["stdout"] for row in there} == {"py311\n"}


def test_a_local_prefix_with_a_compiled_extension(cluster: CommandLine, channel: Path, tmp_path: Path) -> None:
    """What was built here, beside conda's packages, can be imported on every node."""
    import markupsafe._speedups as compiled

    prefix = tmp_path / "work"
    _make_prefix(prefix, channel)
    site = prefix / "lib" / f"python{VERSION}" / "site-packages"
    shutil.copytree(Path(compiled.__file__).parent, site / "markupsafe", ignore=shutil.ignore_patterns("__pycache__"))
    cluster("conda", "push", "c", str(prefix))

    line = "/opt/anaconda/envs/work/bin/python -c 'import markupsafe._speedups as m; print(m.__file__)'"
    rows = json.loads(on(cluster, "all", line).stdout)
    assert len(rows) >= 4
    assert all(row["stdout"].endswith(".so\n") and "/envs/work/" in row["stdout"] for row in rows), rows
    assert check(cluster, "-n", "work")[0]["ok"]
    assert "pushed whole" in cluster("conda", "install", "c", "-n", "work", "tiny", expect=2).stderr


def _make_prefix(prefix: Path, channel: Path) -> None:
    """Install an environment on this machine, as its user has done."""
    code = (
        "import asyncio, os, rattler, sys\n"
        "async def main():\n"
        "    records = await rattler.solve([sys.argv[1]], ['python', 'greet'], platforms=['linux-64', 'noarch'],\n"
        "        virtual_packages=rattler.VirtualPackage.detect())\n"
        "    await rattler.install(records, sys.argv[2], cache_dir=sys.argv[2] + '-packages', show_progress=False)\n"
        "asyncio.run(main())\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, channel.as_uri(), str(prefix)], check=True)


def test_an_environment_file(cluster: CommandLine, served: Served, tmp_path: Path) -> None:
    """An environment.yml becomes a lock; what it asks of pip is refused, with the line."""
    file = tmp_path / "environment.yml"
    file.write_text(f"name: filed\nchannels: ['{served.address}']\ndependencies: [tiny, greet]\n")
    cluster("conda", "push", "c", str(file), "-t", "worker")

    infos = json.loads(cluster("conda", "info", "c", "-f", "json").stdout)
    [info] = [row for row in infos if row["environment"] == "filed"]
    assert (info["specs"], info["nodes"]) == (["tiny", "greet"], "worker-[1-3]")
    file.write_text("dependencies:\n- tiny\n- pip: [requests]\n")
    assert "environment.yml:3" in cluster("conda", "push", "c", str(file), expect=2).stderr
    cluster("conda", "remove", "c", "-n", "filed", "--all")
    assert on(cluster, "worker", "ls -A /opt/anaconda/.environments").stdout.count("filed") == 0


def test_bad_input_changes_nothing(cluster: CommandLine, served: Served, tmp_path: Path) -> None:
    """Exit 2 with the reason, and every environment is as it was."""
    said = {
        ("install", "c", "-n", "py31", "tiny"): "did you mean 'py311'",
        ("create", "c", "-n", "py311", "tiny"): "already",
        ("create", "c", "-n", "a/b", "tiny"): "no name",
        ("create", "c", "-n", "x", "-c", served.address, "python >=4"): "No candidates were found for python >=4",
        ("create", "c", "-n", "x", "-c", served.address, "python = ="): "is no package",
        ("create", "c", "-n", "x", "-c", str(tmp_path), "python"): "channel can't be read",
        ("create", "c", "-n", "x", "-c", "${NO_SUCH}", "python"): "NO_SUCH is not set",
        ("create", "c", "-n", "x", "-t", "worker-9", "-c", served.address, "python"): "worker-9",
        ("remove", "c", "-n", "py311", "pyton"): "did you mean 'python'",
        ("remove", "c", "-n", "py311"): "say what to remove",
        ("install", "c", "-n", "py311", "-t", "worker", "tiny"): "is on all",
        ("push", "c", str(tmp_path)): "no conda environment",
        ("check", "c", "-n", "py31"): "did you mean",
    }
    before = cluster("conda", "info", "c", "-f", "json").stdout
    for words, reason in said.items():
        answer = cluster("conda", *words, expect=2)
        assert reason in answer.stderr, answer
    assert cluster("conda", "info", "c", "-f", "json").stdout == before
    assert check(cluster, "-n", "py311")[0]["ok"]


def test_a_channel_with_an_authority_of_its_own(cm: CommandLine, channel: Path, tmp_path: Path) -> None:
    """By https, a name below `channel_alias`: refused with a hint, or trusted by `ssl_verify`, a file or `false`."""
    pem = node_certificate(Home(cm.home, cm.cache), Node("own-worker-1", "worker", 1, "planned", "127.0.0.1"))
    authority, certificate = tmp_path / "Own CA.pem", tmp_path / "server.pem"
    authority.write_bytes(pem["ca.pem"])
    certificate.write_bytes(pem["key.pem"] + pem["cert.pem"])
    with serving(channel.parent, certificate=certificate) as served:
        said = {
            ssl_verify: _bundled(cm, tmp_path, f"{served.address}/t/{SECRET}", ssl_verify)
            for ssl_verify in ("true", "false", str(authority), f"{authority}.old", "Own CA.pem")
        }

    assert {word: answer.exit for word, answer in said.items()} == dict.fromkeys(said, 2) | {
        "false": 0, str(authority): 0
    }  # fmt: skip
    assert "ssl_verify of the plugin conda" in said["true"].stderr
    assert f"there is no file {authority}.old" in said[f"{authority}.old"].stderr
    assert "'Own CA.pem' is neither true nor false nor a path" in said["Own CA.pem"].stderr
    assert served.packages() == ["tiny-1.0-0.conda"] * 2
    assert not [answer for answer in said.values() if SECRET in str(answer)]


def _bundled(cm: CommandLine, folder: Path, alias: str, ssl_verify: str) -> Answer:
    """Let `cm bundle create` fetch a package, with an empty cache."""
    profile = folder / "lab.yaml"
    profile.write_text(
        "provider: baremetal\nmachines: {head: [127.0.0.1], compute: [127.0.0.2]}\nplugins:\n  - conda:\n"
        f"      environments: {{tools: [tiny]}}\n      channels: [channel]\n      channel_alias: {alias}\n"
        f"      ssl_verify: {ssl_verify}\n"
    )
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        words = ("bundle", "create", "-p", str(profile), "-o", f"{cache}/lab.bundle")
        return CommandLine(cm.home, Path(cache))(*words, expect=None)


@pytest.mark.parametrize(
    ("alias", "word", "address", "shown"),
    [
        ("http://h/x", "mine", "http://h/x/mine", "http://h/x/mine"),
        ("http://h/x/", "mine/label/dev", "http://h/x/mine/label/dev", "http://h/x/mine/label/dev"),
        ("http://h/t/s3", "mine", "http://h/t/s3/mine", "http://h/t/<TOKEN>/mine"),
        ("http://h/${KEY}", "mine", "http://h/s3/mine", "http://h/${KEY}/mine"),
        ("/mirror", "mine", "file:///mirror/mine", "file:///mirror/mine"),
        ("http://h/x", "http://other/mine", "http://other/mine", "http://other/mine"),
        ("http://h/x", "/folder", "file:///folder", "file:///folder"),
    ],
)
def test_names_below_an_alias(alias: str, word: str, address: str, shown: str) -> None:
    """A name is looked for below the whole alias, an address or a folder; what is secret of it is not shown."""
    require_tools()
    assert [Channel(shown, address)] == channels_of([word], alias=alias, environ={"KEY": "s3"}, tokens={})


def test_no_token_is_seen_again(cluster: CommandLine, served: Served) -> None:
    """A channel's token, typed or in a variable, is in no output, log, journal, lock, and on no node."""
    typed = f"{served.address}/t/{SECRET}"
    with_variable = CommandLine(cluster.home, cluster.cache, environ={"CHANNEL_TOKEN": SECRET})
    variable = served.address + "/t/${CHANNEL_TOKEN}"
    answers = [
        cluster("conda", "create", "c", "-n", "a", "-c", typed, "tiny"),
        cluster("conda", "install", "c", "-n", "a", "greet=0.1"),
        with_variable("conda", "create", "c", "-n", "b", "-c", variable, "tiny"),
        cluster("conda", "create", "c", "-n", "d", "-c", typed, "nosuch", expect=2),
        cluster("conda", "info", "c", "-f", "json"),
        cluster("conda", "list", "c", "-f", "json"),
        cluster("cluster", "events", "c", "-f", "json"),
    ]
    assert any(path.startswith(f"/t/{SECRET}/") for path in served.asked_paths)
    assert not [answer for answer in answers if SECRET in answer.stdout + answer.stderr]
    found = subprocess.run(["grep", "-rlsaF", SECRET, str(cluster.home)], capture_output=True, text=True, check=False)
    [private] = [Path(path) for path in found.stdout.split()]
    assert private.name == "tokens"
    assert private.stat().st_mode & 0o777 == 0o600
    assert variable in answers[4].stdout
    for name in ("a", "b"):
        cluster("conda", "remove", "c", "-n", name, "--all")
    on_nodes = "sudo grep -rlsaF tk-4f1bb2a9c[0] /opt/anaconda /usr/local/lib/cm /etc /var/log || true"
    assert {row["stdout"] for row in json.loads(on(cluster, "all", on_nodes).stdout)} == {""}


def test_a_plain_virtual_environment(cluster: CommandLine) -> None:
    """Virtual environments without conda are compared with what most nodes have."""
    on(cluster, "all", "sudo python3 -m venv --without-pip /opt/tools")
    [same] = check(cluster, "--venv", "/opt/tools")
    assert (same["what"], same["ok"]) == ("same", True)
    site = f"/opt/tools/lib/python{VERSION}/site-packages"
    line = f"sudo mkdir {site}/odd-1.0.dist-info && echo Name: odd | sudo tee {site}/odd-1.0.dist-info/METADATA"
    on(cluster, "worker-1", line)
    rows = check(cluster, "--venv", "/opt/tools", expect=3)
    found = {(row["what"], row["item"], row["expected"], row["actual"], row["nodes"]) for row in rows}
    assert ("package", "odd", "none", "1.0", "worker-1") in found


def test_nodes_that_come_later_have_the_same_lock(cluster: CommandLine) -> None:
    """Scale brings the locks, not what the channel has meanwhile; also when the cache has lost the archives."""
    shutil.rmtree(cluster.cache / "conda")
    cluster("cluster", "scale", "c", "+1", timeout=600)

    rows = check(cluster)
    assert all(row["ok"] for row in rows), rows
    assert {row["nodes"] for row in rows} == {"master,worker-[1-4]"}
