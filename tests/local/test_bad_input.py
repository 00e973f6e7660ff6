"""Bad input that only a machine with nodes can meet: images, ids, homes, busy clusters. Exit 2, and nothing made."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.state.store import State
from tests.support.command_line import Answer, CommandLine
from tests.support.private_mounts import cm_with_mounts, needs_root
from tests.support.terminal import Terminal
from tests.support.traces import traces

HIDE_MMDEBSTRAP = "mount --bind /dev/null /usr/bin/mmdebstrap"


@pytest.fixture
def cache() -> Iterator[Path]:
    """Return an empty CM_CACHE."""
    with tempfile.TemporaryDirectory(prefix="cm-cache-", dir="/tmp") as folder:
        yield Path(folder)


def assert_refused(answer: Answer, cm: CommandLine, *words: str) -> None:
    """Assert that an answer is exit 2 with a clear message that has all of `words`, and that nothing was made."""
    assert answer.exit == 2, answer
    assert "Traceback" not in answer.stderr
    message = answer.stderr[answer.stderr.rindex("cm: ") :]
    assert len(message.splitlines()) <= 2, "what is wrong, and what to do about it"
    for word in words:
        assert word in message
    assert [] == list((cm.home / "clusters").glob("*")), "not even a folder is left"
    with State(Home(cm.home, cm.cache)) as state:
        assert [] == state.cluster_names()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no image"),
        ("folder", "no image"),
        ("empty", "can't be used: tar: This does not look like a tar archive"),
        ("corrupt", "can't be used: tar: This does not look like a tar archive"),
        ("cut off", "can't be used"),
        ("foreign", "it has no usr/sbin/sshd"),
    ],
)
def test_a_bad_image_makes_nothing(cm: CommandLine, cache: Path, tmp_path: Path, kind: str, reason: str) -> None:
    """A tarball that is not there, broken or no Debian is refused before any node is made, and leaves no cache."""
    image = tmp_path / "image.tar.gz"
    make_image(image, kind)
    before = traces(cm.home)
    answer = replace(cm, cache=cache)("cluster", "create", "u", "--image", str(image), expect=None)

    assert_refused(answer, cm, str(image), reason, "tarball of a")
    assert before == traces(cm.home)
    assert [] == [path.name for path in cache.glob("images/*") if path.is_dir()]


def test_a_misspelt_name_is_asked_about(cm: CommandLine, cache: Path, tmp_path: Path) -> None:
    """On a terminal a no makes nothing and -y goes on; without a terminal it goes on, with a warning."""
    make_image(tmp_path / "image.tar.gz", "empty")
    create = ("cluster", "create", "hadop", "--image", str(tmp_path / "image.tar.gz"))
    cm = replace(cm, cache=cache)
    with Terminal(cm.argv(*create), cm.environment()) as terminal:
        asked = terminal.expect("Go on? [y/N] ")
        assert "No profile is called 'hadop': 'default' is used" in asked
        terminal.type("n\n")
        terminal.expect("nothing was done")
        assert terminal.end() == 2
    with Terminal(cm.argv(*create, "-y"), cm.environment()) as terminal:
        assert "Go on?" not in terminal.expect("not look like a tar archive")
        assert terminal.end() == 2
    warned = cm(*create, expect=2).stderr
    assert "warning: no profile is called 'hadop'" in warned
    events = json.loads(cm("cluster", "events", "hadop", "-f", "json").stdout)
    assert [each for each in events if each["kind"] == "warning" and "for hadoop: -p hadoop" in each["message"]]


def make_image(path: Path, kind: str) -> None:
    """Write a bad image of a kind; the kind "missing" writes nothing."""
    if kind == "folder":
        path.mkdir()
    if kind == "empty":
        path.touch()
    if kind == "corrupt":
        path.write_bytes(hashlib.sha256().digest() * 4096)
    if kind in ("cut off", "foreign"):
        hello = path.with_name("hello")
        hello.write_bytes(os.urandom(200_000))
        with tarfile.open(path, "w:gz") as tar:
            tar.add(hello, "etc/hello")
    if kind == "cut off":
        os.truncate(path, path.stat().st_size // 2)


def test_a_full_disk_makes_nothing(cm: CommandLine, cache: Path, tmp_path: Path) -> None:
    """An image that does not fit on the disk of CM_CACHE is refused, and what was written of it is gone."""
    needs_root()
    image = tmp_path / "image.tar"
    big = tmp_path / "big"
    big.write_bytes(os.urandom(3_000_000))
    with tarfile.open(image, "w") as tar:
        for name in ("one", "two", "three"):
            tar.add(big, f"usr/{name}")
    left = tmp_path / "left"
    before = traces(cm.home)
    small = f"mount -t tmpfs -o size=4m,mode=700 none {cache}; trap 'find {cache} -type d >{left}' EXIT"
    own = replace(cm, cache=cache)
    answer = cm_with_mounts(own, without_exec(small), "cluster", "create", "u", "--image", str(image))

    assert_refused(answer, cm, "no space left on device", "CM_CACHE")
    assert before == traces(cm.home)
    assert [str(cache), str(cache / "images")] == sorted(left.read_text().split())


def test_a_home_without_space_makes_nothing(cm: CommandLine) -> None:
    """Nodes whose disks can't hold their first boot are refused, with both figures."""
    needs_root()
    small = f"mount -t tmpfs -o size=10m,mode=700 none {cm.home}"
    answer = cm_with_mounts(cm, small, "cluster", "create", "u")

    assert_refused(answer, cm, f"MiB are free in {cm.home}", "24 are the least", "CM_HOME")


def without_exec(mounts: str) -> str:
    """Let a shell wait for `cm`, so that its trap sees what is left."""
    return f'{mounts}\n"$@" || exit $?\nset -- true'


def test_an_image_needs_mmdebstrap_or_a_tarball(cm: CommandLine, cache: Path) -> None:
    """Without mmdebstrap and without an image in the cache, both ways out are named; with an image all is well."""
    needs_root()
    before = traces(cm.home)
    answer = cm_with_mounts(replace(cm, cache=cache), HIDE_MMDEBSTRAP, "cluster", "create", "u")

    assert_refused(answer, cm, "mmdebstrap is missing", "apt-get install mmdebstrap", "tarball")
    assert before == traces(cm.home)
    assert [] == [path.name for path in cache.glob("images/*") if path.is_dir()]


def test_a_wrong_payload_makes_nothing(cm: CommandLine, tmp_path: Path) -> None:
    """A source of Hadoop that is not what the plugin was made for is refused before any node is made."""
    wrong = tmp_path / "hadoop.tar.gz"
    make_image(wrong, "foreign")
    before = traces(cm.home)
    for source in (wrong, tmp_path / "missing.tar.gz"):
        answer = cm("cluster", "create", "u", "-p", "hadoop", "--set", f"hadoop.source={source}", expect=None)
        assert_refused(answer, cm, str(source))
    assert before == traces(cm.home)


def test_a_cluster_is_worked_on_by_one_at_a_time(shared_cm: CommandLine) -> None:
    """While a script is written, every other change is refused at once with who holds the cluster."""
    shared_cm("cluster", "create", "t", "-n", "1", timeout=600)
    script = "touch /tmp/began; until [ -e /tmp/enough ]; do sleep 0.1; done"
    writing = subprocess.Popen(
        shared_cm.argv("cluster", "write", "t", "master", "--", script),
        env=shared_cm.environment(), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while shared_cm("cluster", "ssh", "t", "--", "test", "-e", "/tmp/began", expect=None).exit:
        assert writing.poll() is None, "the script has not begun"
        time.sleep(0.1)
    for words in (("scale", "t", "+1"), ("delete", "t", "-y"), ("write", "t", "master", "true"), ("verify", "t")):
        began = time.monotonic()
        answer = shared_cm("cluster", *words, expect=2)
        assert time.monotonic() - began < 5
        assert f"cluster 't' is busy: write (process {writing.pid}, since 20" in answer.stderr
        assert "wait until it has ended" in answer.stderr
    assert shared_cm("cluster", "cmd", "t", "-t", "master", "hostname").stdout == "master: t-master\n"
    shared_cm("cluster", "ssh", "t", "--", "touch", "/tmp/enough")
    assert writing.wait(60) == 0
    assert 2 == len(shared_cm("cluster", "nodes", "t", "-f", "value", "-c", "name").stdout.split())


def test_an_empty_script_is_none(shared_cm: CommandLine) -> None:
    """Writing without words and with nothing on standard input is exit 2; nothing is remembered."""
    for stdin in ("", "\n", "  \n\n"):
        assert "the script is empty" in shared_cm("cluster", "write", "t", "master", stdin=stdin, expect=2).stderr
    scripts = shared_cm("cluster", "scripts", "t", "-f", "value", "-c", "name").stdout.split()

    assert [] == [name for name in scripts if name == "stdin"]
