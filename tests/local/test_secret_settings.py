"""A cluster with a secret: it reaches the script that needs it, and stands nowhere else."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.plugin_folder import write_plugin

SECRET = "Zq7-plover-93"
PLUGIN = """\
description: for tests
settings: {password: {type: secret, description: of the database}}
checks: [{name: asked, run: /usr/local/lib/cm/plugins/vault/all.sh say, expect: {stdout: database}}]
"""
# A careless script: it prints what it got, and leaves the secret's digest as a proof that it had it.
SCRIPT = """\
#!/bin/bash
source "$(dirname "$0")/plugin.sh"
[[ $1 == install || $1 == say ]] || exit 0
echo "connecting to the database with $CM_SETTING_PASSWORD"
echo "$CM_SETTING_PASSWORD" | sha256sum >/run/proof
"""


@pytest.fixture(scope="module")
def made(shared_cm: CommandLine) -> Iterator[tuple[CommandLine, str]]:
    """Return `cm` with a cluster whose plugin has been given a secret, and all that `create` has said."""
    write_plugin(shared_cm.home, "vault", {"plugin.yaml": PLUGIN, "all.sh": SCRIPT})
    profile = shared_cm.home / "vault.yaml"
    profile.write_text("plugins: [{vault: {password: '@pw'}}]\n")
    (shared_cm.home / "pw").write_text(SECRET)
    answer = shared_cm("cluster", "create", "v", "-p", str(profile), "-n", "1", "--provider", "local", timeout=600)
    (shared_cm.home / "pw").unlink()
    yield shared_cm, answer.stdout + answer.stderr
    shared_cm("cluster", "delete", "v", "-y", expect=None)


def test_the_script_has_it_and_nobody_else(made: tuple[CommandLine, str]) -> None:
    """The role script got the secret; the login user's settings are without it, and its file is root's."""
    cm, _ = made
    proofs = cm("cluster", "cmd", "v", "--", "cat /run/proof").stdout
    files = cm("cluster", "cmd", "v", "--", "cat /usr/local/lib/cm/plugins/vault/secrets/* 2>&1 || true").stdout
    readable = cm("cluster", "cmd", "v", "--", f"grep -rls {SECRET} /etc /usr/local /var /run /tmp || true").stdout

    assert len(set(re.findall("[0-9a-f]{64}", proofs))) == 1
    assert "Permission denied" in files
    assert SECRET not in files
    assert "/" not in readable


def test_it_is_told_nowhere(made: tuple[CommandLine, str], tmp_path: Path) -> None:
    """Not on the terminal, in show, history, events, report, doctor, nor in any file but the one that keeps it."""
    cm, said = made
    cm("cluster", "report", "v", "--html", str(tmp_path / "v.html"))
    cm("doctor", "v", "-o", str(tmp_path / "v.tar.gz"), timeout=120)
    texts = [said, (tmp_path / "v.html").read_text()]
    for words in (("cluster", "show", "v"), ("cluster", "history", "v"), ("cluster", "events", "v")):
        texts.append(cm(*words, "-f", "json").stdout)
    with tarfile.open(tmp_path / "v.tar.gz") as tar:
        texts += [tar.extractfile(each).read().decode() for each in tar.getmembers()]  # type: ignore[union-attr]
    texts.append(cm("cluster", "verify", "v", "-f", "json").stdout)
    files = [path for path in cm.home.rglob("*") if path.is_file() and not path.is_symlink()]
    files = [path for path in files if "disk" not in path.parts]  # of the nodes

    assert "connecting to the database with (removed)" in said
    assert [text[:200] for text in texts if SECRET in text] == []
    assert [path.name for path in files if SECRET.encode() in path.read_bytes()] == ["password"]


def test_nodes_that_come_later_get_it(made: tuple[CommandLine, str]) -> None:
    """The file that gave it is gone; a new worker gets it from what is kept."""
    cm, _ = made
    cm("cluster", "scale", "v", "+1", timeout=600)
    proofs = cm("cluster", "cmd", "v", "--", "cat /run/proof").stdout

    assert len(set(re.findall("[0-9a-f]{64}", proofs))) == 1
    assert "worker-2" in proofs or "worker-[1-2]" in proofs or "all" in proofs
