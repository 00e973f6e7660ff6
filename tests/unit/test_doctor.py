"""`cm doctor`: the archive has what support needs, and nothing that is secret."""

from __future__ import annotations

import stat
import tarfile
import time
from itertools import pairwise
from pathlib import Path

import pytest

from cloudmesh_cluster.core.codec import encode
from cloudmesh_cluster.core.events import Event
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Cluster, PluginUse, Profile
from cloudmesh_cluster.core.redaction import Lines, redact
from cloudmesh_cluster.nodes.keys import generate
from cloudmesh_cluster.operations.journal import new_operation
from cloudmesh_cluster.state.records import ClusterRecord
from cloudmesh_cluster.state.store import State
from tests.support.command_line import CommandLine
from tests.support.secrets import holds, spellings

PASSWORD, TOKEN, PLUGINS, SPELT = "correct horse", "gAAAAAB-token-1234", "0123456789abcdef", "tr0ub4dor&3"
SECRETS = [each.encode() for each in (PASSWORD, TOKEN, PLUGINS, SPELT)]


@pytest.fixture
def troubled(home: Path, cm_cache: Path) -> CommandLine:
    """Return `cm` with a home in which secrets lie wherever they can, and a cluster in trouble."""
    own = Home(home, cm_cache)
    profile = Profile("p", "p.yaml", plugins=(PluginUse("notebook", {"password": SPELT}),))
    record = ClusterRecord(profile, "local", {"secret_key": TOKEN}, "10.88.0.0/16")
    with State(own) as state:
        state.add_cluster(Cluster("demo", "failed", "local", "p", "2026-01-01T00:00:00Z"), record)
        operation = new_operation("demo", "create", encode(profile))
        state.begin_operation(operation)
        said = Event("output", "script", "demo-master", f"export TOKEN={TOKEN} and {PASSWORD}")
        state.add_events(operation.id, [said])
        state.end_operation(operation.id, state="failed", error=f"https://me:{PASSWORD}@repo/ and {SPELT}")
    folder = own.cluster("demo")
    logs = folder / "logs" / operation.id
    logs.mkdir(parents=True)
    for file in (own.login_key("demo"), folder / "bootstrap-1", logs / "demo-master.console.log"):
        file.write_bytes(generate(file.name).private)
    secret = own.secrets("demo", "spark") / "key"
    secret.parent.mkdir(parents=True)
    secret.write_text(PLUGINS + "\n")
    (logs / "demo-master.logs.log").write_text(f"started with {PLUGINS}\nwent wrong\n")
    own.providers_file.write_text(f"dc: {{type: openstack, os_cloud: lab, password: {PASSWORD}}}\n")
    own.providers_file.chmod(0o600)
    (own.profiles / "p.yaml").write_text(f"conda_channels: [http://repo/t/{TOKEN}/main]\n# pass{''}word: {SPELT}\n")
    return CommandLine(home, cm_cache, environ={"OS_PASSWORD": PASSWORD})


def test_no_secret_gets_in(troubled: CommandLine, tmp_path: Path) -> None:
    """Keys, passwords and tokens of settings, environment, plugins, logs and journal are not in the archive."""
    archive = tmp_path / "trouble.tar.gz"
    troubled("doctor", "-o", str(archive))
    own = Home(troubled.home, troubled.cache)
    keys = [own.login_key("demo"), own.cluster("demo") / "bootstrap-1", *own.cluster("demo").rglob("*.console.log")]
    needles = SECRETS + [spelling for key in keys for spelling in spellings(key.read_bytes())]
    with tarfile.open(archive) as tar:
        members = {each.name: tar.extractfile(each).read() for each in tar.getmembers()}  # type: ignore[union-attr]

    assert len(keys) == 3
    assert [] == [name for name, content in members.items() if holds(content, needles)]
    assert 0o600 == stat.S_IMODE(archive.stat().st_mode)


def test_what_support_needs_is_there(troubled: CommandLine, tmp_path: Path) -> None:
    """Versions, settings, profiles, journal and evidence are in the archive, readable, with what is no secret."""
    archive = tmp_path / "trouble.tar.gz"
    troubled("doctor", "demo", "-o", str(archive))
    with tarfile.open(archive) as tar:
        texts = {each.name: tar.extractfile(each).read().decode() for each in tar.getmembers()}  # type: ignore[union-attr]
    logs = "".join(text for name, text in texts.items() if "/logs/" in name)

    assert {"info.json", "clusters.json", "history.json", "providers.yaml", "profiles.d/p.yaml"} <= set(texts)
    assert "os_cloud: lab" in texts["providers.yaml"]
    assert '"state": "failed"' in texts["history.json"]
    assert "demo-master" in texts["clusters/demo/events.json"]
    assert "went wrong" in logs


def test_nothing_is_overwritten(troubled: CommandLine, tmp_path: Path) -> None:
    """A file that is there already is refused with exit 2."""
    archive = tmp_path / "there"
    archive.write_text("mine")

    assert "-o FILE" in troubled("doctor", "-o", str(archive), expect=2).stderr
    assert "mine" == archive.read_text()
    troubled("doctor", "nowhere", expect=2)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password: a b c", "password: (removed)"),
        ('{"secret_key": "a\\"b", "n": 1}', '{"secret_key": (removed), "n": 1}'),
        ("OS_TOKEN=abc next", "OS_TOKEN=(removed)"),
        ("cm --os-password abc x", "cm --os-password (removed) x"),
        ("X-Auth-Token: abc def", "X-Auth-Token: (removed)"),
        ("https://u:p@host/x", "https://(removed)@host/x"),
        ("http://repo/t/abc/main", "http://repo/t/(removed)/main"),
        ("private_key: ~/.ssh/id", "private_key: ~/.ssh/id"),
        ("export DB_PASS=hunter22", "export DB_PASS=(removed)"),
        ("Server=x;UID=sa;PWD=hunter22;", "Server=x;UID=sa;PWD=(removed);"),
        ("MYSQL_PWD=/a+b=", "MYSQL_PWD=(removed)"),
        ("PWD=/root OLDPWD=/srv", "PWD=/root OLDPWD=/srv"),
        ('{"pass": "hunter22"}', '{"pass": (removed)}'),
        ("curl -u bob:hunter22 http://x", "curl -u (removed) http://x"),
        ("docker run -u 1000:1000 x", "docker run -u 1000:1000 x"),
        ("mysql -u root -phunter22 db", "mysql -u root -p(removed) db"),
        ("sshpass -p hunter22 ssh -p 22 x", "sshpass -p (removed) ssh -p 22 x"),
        ("openssl rsa -passin pass:hunter22 -in x", "openssl rsa -passin pass:(removed)"),
        ("pull with ghp_0123456789abcdefghijABCDEFGHIJ012345 now", "pull with (removed) now"),
        ("AKIAIOSFODNN7EXAMPLE", "(removed)"),
        ("got eyJhbGciOiJIUzI1.eyJzdWIiOiIx.c2ln", "got (removed)"),
        ("sent: bearer abcdefghijklmnop0123", "sent: bearer (removed)"),
        ("SPARK_AUTH_KEY=0123456789abcdef0123", "SPARK_AUTH_KEY=(removed)"),
        ("public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"),
        ("fs.s3a.secret.key=abc;fs.x=1", "fs.s3a.secret.key=(removed);fs.x=1"),
        ("compass: north, keyboard: us, bypass=1", "compass: north, keyboard: us, bypass=1"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, left: str) -> None:
    """What stands where secrets stand is removed, and nothing else."""
    assert left == redact(text)


@pytest.mark.parametrize("word", ["a", "pass", "key.", "-u ", "token ", "x://", "eyJ", 'pwd="', "/t/", "mysql -p "])
def test_no_text_takes_long(word: str) -> None:
    """What a node prints can't keep the client busy: the time grows with the length, no faster."""

    def seconds(times: int) -> float:
        began = time.process_time()
        redact(word * times)
        return time.process_time() - began

    assert seconds(80_000) < 16 * max(seconds(10_000), 0.02)


def test_a_key_that_comes_line_by_line() -> None:
    """All lines of a private key go, and nothing after it."""
    lines = Lines()
    key = ["-----BEGIN OPENSSH PRIVATE KEY-----", "b3BlbnNzaC1rZXk", "-----END OPENSSH PRIVATE KEY-----"]
    text = ["before", *key, "on"]
    assert [lines.redact(line) for line in text] == ["before", "(removed)", "(removed)", "(removed)", "on"]


BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n" for before, name in pairwise("abcdefghijklmnopqrstuvwxyz")
)


def test_aliases_keep_nobody_waiting(cm: CommandLine, tmp_path: Path) -> None:
    """A kilobyte of YAML whose aliases stand for millions of values does not keep `doctor` from its work."""
    cm("info")
    profiles = cm.home / "profiles.d"
    (profiles / "bomb.yaml").write_text(BOMB)
    cm("doctor", "-o", str(tmp_path / "x.tar.gz"), timeout=60)
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        assert "profiles.d/bomb.yaml" in tar.getnames()
