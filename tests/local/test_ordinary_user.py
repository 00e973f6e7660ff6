"""`cm` of an ordinary user, who has no sudo: in one module, since the user's own image takes its time."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.journal_watch import NODE_REACHED, Instant, signalled
from tests.support.private_mounts import cm_with_mounts, needs_root
from tests.support.traces import traces

HIDE_SUBORDINATE_IDS = "mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid"


def test_an_ordinary_user_has_clusters_too(user_cm: CommandLine) -> None:
    """Without root a cluster comes up, is verified and goes without a trace; nothing of it belongs to root."""
    before = traces(user_cm.home)
    user_cm("cluster", "create", "mine", "-n", "1", timeout=900)
    owners = {path.lstat().st_uid for path in user_cm.home.rglob("*")}
    user_cm("cluster", "verify", "mine")
    user_cm("cluster", "delete", "mine", "-y")

    assert 0 not in owners or user_cm.user == "root"
    assert before == traces(user_cm.home)


def test_what_an_ordinary_user_interrupts_leaves_nothing(user_cm: CommandLine) -> None:
    """Without root, too, a half-made cluster is removed, although its files belong to many ids."""
    before = traces(user_cm.home)
    user_cm("cluster", "create", "mine", "-n", "1", timeout=900)
    new_disk = Instant("new disk there", path="clusters/mine/engine/nodes/mine-worker-2/spec.json")
    signalled(user_cm, "cluster", "scale", "mine", "+1", at=new_disk)
    user_cm("cluster", "delete", "mine", "-y")
    assert before == traces(user_cm.home)

    signalled(user_cm, "cluster", "create", "mine", "-n", "1", at=NODE_REACHED)
    user_cm("cluster", "delete", "mine", "-y")
    assert before == traces(user_cm.home)


def test_a_user_needs_subordinate_ids(user_cm: CommandLine) -> None:
    """An ordinary user without rows in /etc/subuid is told the line that root must type."""
    needs_root()
    before = traces(user_cm.home)
    answer = cm_with_mounts(user_cm, HIDE_SUBORDINATE_IDS, "cluster", "create", "u")

    assert answer.exit == 2, answer
    assert f"user {user_cm.user} has no 65536 subordinate user ids in /etc/subuid" in answer.stderr
    assert "usermod --add-subuids" in answer.stderr
    assert before == traces(user_cm.home)
    assert [] == list((user_cm.home / "clusters").glob("*"))


def test_what_a_user_cannot_read_is_refused(user_cm: CommandLine) -> None:
    """A profile, a script of it and a script to write that the user may not read are exit 2."""
    needs_root()
    with tempfile.TemporaryDirectory(prefix="cm-secret-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret.sh").write_text("echo secret\n")
        (folder / "secret.sh").chmod(0o600)
        (folder / "secret.yaml").write_text("name: secret\n")
        (folder / "secret.yaml").chmod(0o600)
        (folder / "p.yaml").write_text("scripts: {all: [secret.sh]}\n")
        for words in (
            ("create", "u", "-p", f"{folder}/secret.yaml"),
            ("create", "u", "-p", f"{folder}/p.yaml"),
            ("write", "u", "master", "--file", f"{folder}/secret.sh"),
            ("create", "u", "--image", f"{folder}/secret.sh"),
        ):
            answer = user_cm("cluster", *words, expect=2)
            assert "secret." in answer.stderr
            assert "Permission denied" in answer.stderr
            assert "echo" not in answer.stderr
    assert [] == list((user_cm.home / "clusters").glob("*"))


@pytest.mark.parametrize("variable", ["CM_HOME", "CM_CACHE"])
def test_a_folder_that_a_user_cannot_write(user_cm: CommandLine, variable: str) -> None:
    """CM_HOME and CM_CACHE below a folder of root's are refused by name, for looking too."""
    needs_root()
    elsewhere = replace(user_cm, environ={**user_cm.environ, variable: "/usr/cm-nowhere"})
    for words in (("create", "u"), ("list",)):
        answer = elsewhere("cluster", *words, expect=2)
        assert "/usr/cm-nowhere can't be made: Permission denied" in answer.stderr
        assert f"set {variable} to" in answer.stderr
    assert not Path("/usr/cm-nowhere").exists()


def test_a_home_that_became_read_only(user_cm: CommandLine) -> None:
    """A lock or a journal that can't be written is refused by name."""
    needs_root()
    with tempfile.TemporaryDirectory(prefix="cm-", dir="/tmp") as name:
        home = Path(name)
        home.chmod(0o755)
        for folder in ("clusters", "locks", "profiles.d"):
            (home / folder).mkdir()
        answer = replace(user_cm, home=home)("cluster", "create", "u", expect=2)

        assert f"the lock {home}/locks/u.lock can't be taken: Permission denied" in answer.stderr
        assert "CM_HOME" in answer.stderr
        said = replace(user_cm, home=home)("cluster", "list", expect=2).stderr
        assert f"the journal {home}/state.db can't be used" in said
