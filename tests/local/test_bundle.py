"""A cluster where there is no network: from a bundle, an empty cache and nodes without a route out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cloudmesh_cluster.operations.bundle.archive import use_bundle, write_bundle
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from tests.conftest import refuse
from tests.support.command_line import CommandLine
from tests.support.conda_channel import make_channel, require_tools

PROFILE = """\
roles: {{worker: {{count: 1}}}}
plugins:
  - conda: {{environments: {{py311: [python, greet=0.1]}}, channels: ['{channel}']}}
"""
GREET = "/opt/anaconda/envs/py311/bin/greet"


def test_a_bundle_is_all_that_create_needs(cm: CommandLine, tmp_path: Path) -> None:
    """Made with a cache that has everything, used with an empty one in a network namespace without routes."""
    require_tools()
    if os.geteuid() != 0:
        refuse("only root can make a network namespace and bundle the image of the nodes")
    channel = make_channel(tmp_path / "channel")
    profile = tmp_path / "gap.yaml"
    profile.write_text(PROFILE.format(channel=channel))
    bundle = tmp_path / "gap.bundle"
    cm("bundle", "create", "-p", str(profile), "--provider", "local", "-o", str(bundle), timeout=600)
    shutil.rmtree(channel)

    there = CommandLine(cm.home, tmp_path / "empty")
    lines = [
        ("bundle", "use", str(bundle)),
        ("cluster", "create", "g", "-p", str(profile), "--provider", "local"),
        ("conda", "check", "g"),
        ("cluster", "cmd", "g", "--", GREET),
        ("cluster", "cmd", "g", "-t", "worker-1", "--", "if curl -sS -m 3 http://192.0.2.1/; then echo out; fi"),
        ("cluster", "delete", "g", "-y"),
    ]
    said = [_without_network(there, words) for words in lines]
    assert "greet 0.1 from" in said[3]
    assert "Couldn't connect" in said[4]
    assert "taken from a bundle" in said[1]


def test_an_image_gets_no_ids_of_this_machine(tmp_path: Path) -> None:
    """A program that is setuid root in a bundle is the nodes' root's in the cache, and no rights come with a file."""
    if os.geteuid() != 0:
        refuse("only root could give a file to root")
    ids = ids_of_this_user()
    folder = tmp_path / "made" / "images" / "base-0123456789abcdef"
    shell = folder / "rootfs" / "bin" / "sh"
    shell.parent.mkdir(parents=True)
    shutil.copy("/bin/sh", shell)
    os.setxattr(shell, "user.overlay.opaque", b"y")
    os.chown(shell, ids.root[0], ids.root[1])
    shell.chmod(0o4755)
    write_bundle(tmp_path / "made", "lab", [], [folder], tmp_path / "x.bundle", lambda line: None)
    use_bundle(tmp_path / "x.bundle", tmp_path / "used", lambda line: None)
    there = tmp_path / "used" / "images" / folder.name / "rootfs" / "bin" / "sh"

    assert (there.stat().st_uid, there.stat().st_gid, there.stat().st_mode & 0o7777) == (*ids.root, 0o4755)
    assert os.listxattr(there) == ["user.overlay.opaque"]


def _without_network(cm: CommandLine, words: tuple[str, ...]) -> str:
    """Run `cm` where there is a loopback and nothing else; return what it says."""
    program = ["unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh", *cm.argv(*words)]
    done = subprocess.run(
        program, env=cm.environment(), cwd="/", capture_output=True, text=True, timeout=500, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.fail(f"cm {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr
