"""Settings that nobody may see: given, kept and handed to nodes without standing anywhere else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cloudmesh_cluster.config.profile import load_profile
from cloudmesh_cluster.core.codec import encode
from cloudmesh_cluster.core.errors import InvalidInput, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node, PluginUse, RoleSpec
from cloudmesh_cluster.core.redaction import known_secrets
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.operations.plan import CreateRequest, make_plan
from cloudmesh_cluster.operations.steps.description import describe, read_description
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.plugins.secret_settings import given_secrets, keep_secrets, read_assignments, secret_settings
from cloudmesh_cluster.plugins.secrets import secret_files
from cloudmesh_cluster.plugins.settings import settings_sh
from tests.support.command_line import CommandLine

SECRET = 'it\'s $(a) "secret"\nof two lines'
PLUGIN = """\
description: for tests
settings:
  password: {type: secret, description: of the database}
  pin: {type: secret, description: of the card, optional: true}
  options: {type: text, description: further NAME=VALUE}
"""
MASTER = Node("t-master", "master", 0, "running", "10.88.0.10")


@pytest.fixture
def own(home: Path, cm_cache: Path) -> Home:
    """Return a home with a plugin that has secrets."""
    folder = home / "plugins" / "db"
    folder.mkdir(parents=True)
    (folder / "plugin.yaml").write_text(PLUGIN)
    (home / "pw").write_text(f"{SECRET}\n")
    return Home(home, cm_cache)


def db(own: Home, **settings: object) -> ChosenPlugin:
    """Return the plugin with settings."""
    (chosen,) = resolve([PluginUse("db", settings)], own)
    return chosen


def test_where_a_secret_comes_from(own: Home) -> None:
    """A file, a variable, or the user who is asked; a profile's path is relative to the profile."""
    asked: list[str] = []

    def ask(words: str) -> str:
        asked.append(words)
        return SECRET

    profile = own.root / "p.yaml"
    profile.write_text("plugins: [{db: {password: '@pw', pin: 'env:PIN'}}]\n")
    ways = [
        given_secrets([db(own, password=f"@{own.root}/pw")], {}),
        given_secrets([db(own, password="env:PW")], {"PW": SECRET}),
        given_secrets([db(own)], {}, ask),
    ]

    assert ways == [{("db", "password"): SECRET}] * 3
    assert asked == ["db.password (of the database)"]
    found = given_secrets(resolve(load_profile(profile).plugins, own), {"PIN": "1234"})
    assert found == {("db", "password"): SECRET, ("db", "pin"): "1234"}


@pytest.mark.parametrize("given", ["hunter22", "env:", "@", "env:a b"])
def test_a_secret_that_is_written_out_is_refused(own: Home, given: str) -> None:
    """A secret in a profile or on the command line is refused, and not repeated in the message."""
    with pytest.raises(InvalidInput, match="@FILE or env:NAME") as caught:
        db(own, password=given)
    assert "hunter22" not in str(caught.value)


def test_a_secret_on_the_command_line_is_not_repeated(own: Home, cm: CommandLine) -> None:
    """`cm` says where it may stand instead, and nothing of it, whatever it looks like."""
    (own.root / "p.yaml").write_text("plugins: [db]\n")
    answer = cm("cluster", "create", "t", "-p", str(own.root / "p.yaml"), "--set", "db.pin=hunter22", expect=2)
    assert "--set: plugins.db.pin: a secret is given as @FILE or env:NAME" in answer.stderr
    assert "hunter22" not in answer.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "is not given"), ({"password": "@/nowhere"}, "/nowhere"), ({"password": "env:NO"}, "NO is not set")],
)
def test_a_secret_that_is_not_there(own: Home, given: dict[str, object], said: str) -> None:
    """What is missing is named with its setting, before anything is made; an optional one may be missing."""
    with pytest.raises(InvalidInput, match=said) as caught:
        given_secrets([db(own, **given)], {})
    assert "db.password" in str(caught.value)
    assert "db.pin" not in str(caught.value)


def test_nodes_get_it_and_only_root_reads_it(own: Home, tmp_path: Path) -> None:
    """It is in a file for root, as role scripts source it, and not in the settings that everybody may read."""
    keep_secrets(own, "t", {("db", "password"): SECRET})
    chosen = db(own, password="@pw", options="fs.s3a.secret.key=abc;x=1")
    files = secret_files(own, MASTER, chosen)
    spec = RoleSpec(count=1)
    settings = settings_sh(chosen, master=spec, worker=spec, role="master")
    folder = tmp_path / "db"
    (folder / "secrets").mkdir(parents=True)
    (folder / "settings.sh").write_bytes(settings)
    (folder / "plugin.sh").write_bytes(resource("scripts", "boot", "plugin.sh").read_bytes())
    said = 'source "$0/plugin.sh"; printf %s "$CM_SETTING_OPTIONS|${CM_SETTING_PASSWORD:-}"'

    def sourced() -> str:
        return subprocess.run(["bash", "-c", said, str(folder)], capture_output=True, text=True, check=True).stdout

    ((name, (content, mode)),) = files.items()
    assert sourced() == "|"
    (folder / name).write_bytes(content)
    assert sourced() == f"fs.s3a.secret.key=abc;x=1|{SECRET}"
    assert mode == 0o600
    assert b"PASSWORD" not in settings
    assert read_assignments(content.decode(), secret_settings(chosen)) == {"password": SECRET}
    for path in own.cluster("t").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert set(SECRET.splitlines()) < set(known_secrets(own, "t"))


def test_a_secret_that_is_kept_nowhere_is_missed(own: Home) -> None:
    """Before a node is given half a plugin, the file is named that should have the secret."""
    with pytest.raises(UsageError, match="secret db.password of cluster 't' is not kept here"):
        secret_files(own, MASTER, db(own))


def test_no_stack_and_no_plan_holds_a_secret(own: Home) -> None:
    """Not the secret, which they never had, nor where it is, nor texts that look like secrets, nor channels' tokens."""
    settings = {"password": f"@{own.root}/pw", "options": "fs.s3a.secret.key=abc123"}
    profile = own.root / "p.yaml"
    conda = {"channels": ["https://repo/t/tok-987/main", "https://me:word-654@repo/x"]}
    profile.write_text(json.dumps({"plugins": [{"db": settings}, {"conda": conda}]}))
    plan = make_plan(own, CreateRequest("t", profile=str(profile), provider="local"), {})
    text = describe(plan.profile, provider_settings={}, network="10.88.0.0/24", scripts=[], bootstrap_keys=[], home=own)
    found = read_description(text, stack="cm-t", home=own)

    assert SECRET not in encode(plan)
    for secret in ("abc123", "tok-987", "word-654", str(own.root)):
        assert secret not in text
    assert found.left_out == ("db.options",)
    assert found.profile.plugins[0].settings == {}
    assert list(found.profile.plugins[1].settings["channels"]) == [  # type: ignore[call-overload]
        "https://repo/t/<TOKEN>/main", "https://<TOKEN>@repo/x",
    ]  # fmt: skip


def test_a_plan_is_shown_without_secrets(own: Home, cm: CommandLine) -> None:
    """What `--dry-run` prints is whole JSON, with a reference to a secret and without what looks like one."""
    profile = own.root / "p.yaml"
    profile.write_text("plugins: [{db: {password: '@pw', options: 'a.token=abc123'}}]\n")
    words = ("cluster", "create", "t", "-p", str(profile), "--provider", "local", "--dry-run", "-f", "json")
    shown = cm(*words).stdout

    assert json.loads(shown)["profile"]["plugins"][0]["settings"] == {"password": "@pw", "options": "a.token=(removed)"}
    assert "abc123" not in shown
