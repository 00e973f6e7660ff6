"""Other programs that run commands on many nodes and copy files to them, pointed at a cluster of `cm`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cm_command import ROOT, Cm
from cloudmesh_cluster.providers.local.engine.engine import Engine

USER = "cm"
AT_ONCE = "32"
"""How many nodes each program talks to at a time: as many as `cm` does."""


@dataclass(frozen=True)
class Rival:
    """A program, and what it pays for that others don't."""

    name: str
    words: tuple[str, ...]
    pays_for: str
    times: int = 3


@dataclass(frozen=True)
class Site:
    """A cluster as other programs see it.

    Args:
        folder: belongs to the benchmark.
        names: of all nodes, the master first.
        nodeset: the same, folded.
        prefix: words that run a program in the network of the nodes; empty where only `ProxyCommand` leads there.

    """

    folder: Path
    names: tuple[str, ...]
    nodeset: str
    prefix: tuple[str, ...]

    @property
    def config(self) -> str:
        """The ssh_config that leads to the nodes."""
        return str(self.folder / "ssh_config")

    def environment(self) -> dict[str, str]:
        """Return the environment of all rivals: no settings of the user."""
        known = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **known,
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "PDSH_RCMD_TYPE": "ssh",
            "PDSH_SSH_ARGS": f"-F {self.config} -a -x -l {USER} %h",
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=5s",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
        }


def site_of(cm: Cm, cluster: str, folder: Path) -> Site:
    """Write what other programs need to reach a cluster into a folder."""
    nodes = {row["name"]: row["private_ip"] for row in json.loads(cm("cluster", "nodes", cluster, "-f", "json").stdout)}
    home = cm.engine_folder(cluster).parent
    config = cm("cluster", "inventory", cluster, "-F", "ssh").stdout
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0 and shutil.which("nsenter"):
        # As if on real machines: only nodes of this machine need a ProxyCommand, and it costs as much as ssh itself.
        config = "".join(line for line in config.splitlines(keepends=True) if "Proxy" not in line)
        prefix = ("nsenter", f"--net=/proc/{_holder(cm, cluster)}/ns/net", "--")
    (folder / "ansible.cfg").touch()
    (folder / "ssh_config").write_text(config, encoding="utf-8")
    site = {
        "nodes": nodes,
        "user": USER,
        "engine": str(cm.engine_folder(cluster)),
        "key": str(home / "id_ed25519"),
        "known_hosts": str(home / "known_hosts"),
    }
    (folder / "site.json").write_text(json.dumps(site), encoding="utf-8")
    nodeset = cm("cluster", "inventory", cluster, "-F", "nodeset").stdout.strip()
    return Site(folder, tuple(nodes), nodeset, prefix)


def _holder(cm: Cm, cluster: str) -> int:
    """Return the process that has made the nodes: it is in the network that they share."""
    node = next(iter(Engine(cm.engine_folder(cluster), cm.cache / "images").running().values()))
    return int(Path(f"/proc/{node}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def fan_out(site: Site, command: str) -> list[Rival]:
    """Return who runs a command on all nodes; programs that are not installed are left out."""
    way = "an ssh process a node" if site.prefix else "an ssh process and a ProxyCommand a node"
    ansible = (*site.prefix, *_ansible(site, site.names))
    return _installed(
        Rival("asyncssh, bare", (*_bare(site), "run", command), "nothing: no parsing, no journal, no output", 5),
        Rival("pdsh", (*site.prefix, "pdsh", "-f", AT_ONCE, "-w", site.nodeset, command), way),
        Rival("clush", (*site.prefix, *_clush(site, site.nodeset), command), way),
        Rival("ansible raw", (*ansible, "-m", "raw", "-a", command), f"{way}, a Python process a node", 1),
        Rival(
            "ansible command",
            (*ansible, "-m", "command", "-a", command),
            f"{way}, a Python process a node here and there, several logins", 1,
        ),
    )  # fmt: skip


def push(site: Site, file: Path, count: int) -> list[Rival]:
    """Return who copies a file to the first `count` nodes."""
    names = site.names[:count]
    way = "an ssh process a node" if site.prefix else "an ssh process and a ProxyCommand a node"
    words = ("xargs", "-P", "16", "-I{}", "scp", "-q", "-F", site.config, str(file), "{}:/tmp/by-scp")
    hosts = site.folder / "hosts"
    hosts.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return _installed(
        Rival("asyncssh scp, bare", (*_bare(site), "push", str(file), "/tmp/by-asyncssh", str(count)), "nothing"),
        Rival("clush --copy", (*site.prefix, *_clush(site, ",".join(names)), "--copy", str(file), "--dest",
                               "/tmp/by-clush"), way),
        Rival("scp by xargs", (*site.prefix, words[0], "-a", str(hosts), *words[1:]), way),
        Rival("ansible copy", (*site.prefix, *_ansible(site, names), "-m", "copy", "-a",
                               f"src={file} dest=/tmp/by-ansible"), f"{way}, Python on both sides, checksums", 1),
    )  # fmt: skip


def _bare(site: Site) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.bare_asyncssh", str(site.folder / "site.json"))


def _clush(site: Site, nodes: str) -> tuple[str, ...]:
    return ("clush", "-f", AT_ONCE, "-l", USER, "-o", f"-F {site.config}", "-w", nodes)


def _ansible(site: Site, names: tuple[str, ...]) -> tuple[str, ...]:
    program = Path(sys.executable).parent / "ansible"
    inventory = "".join(f"{name}," for name in names)
    return (
        str(program), "all", "-i", inventory, "-f", AT_ONCE, "-u", USER,
        "--ssh-common-args", f"-F {site.config}", "-e", "ansible_python_interpreter=/usr/bin/python3",
    )  # fmt: skip


def _installed(*rivals: Rival) -> list[Rival]:
    programs = ("pdsh", "clush", "scp", str(Path(sys.executable).parent / "ansible"))
    missing = {program for program in programs if shutil.which(program) is None}
    return [rival for rival in rivals if not missing.intersection(rival.words)]
