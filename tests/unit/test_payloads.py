"""Tests of fetching what plugins install: from Maven's place, archives, folders and addresses."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import Interrupted, InvalidInput, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import PluginUse
from cloudmesh_cluster.core.resources import resource
from cloudmesh_cluster.plugins import payload_sources
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.payload_sources import unprotected_source
from cloudmesh_cluster.plugins.payloads import fetch, pack, read_lock
from cloudmesh_cluster.plugins.resolve import resolve

APACHE = {
    "hadoop-3.4.2/README.txt": b"read me",
    "hadoop-3.4.2/share/hadoop/common/hadoop-common-3.4.2.jar": b"common",
    "hadoop-3.4.2/share/hadoop/common/hadoop-common-3.4.2-tests.jar": b"tests",
    "hadoop-3.4.2/share/hadoop/common/lib/gson-2.9.0.jar": b"gson",
    "hadoop-3.4.2/share/hadoop/hdfs/hadoop-hdfs-3.4.2.jar": b"hdfs",
    "hadoop-3.4.2/share/hadoop/hdfs/lib/gson-2.9.0.jar": b"gson again",
    "hadoop-3.4.2/share/hadoop/hdfs/webapps/hdfs/index.html": b"page",
    "hadoop-3.4.2/share/hadoop/hdfs/webapps/nfs3/index.html": b"not ours",
    "hadoop-3.4.2/share/hadoop/mapreduce/hadoop-mapreduce-examples-3.4.2.jar": b"examples",
    "hadoop-3.4.2/share/hadoop/mapreduce/sources/hadoop-mapreduce-examples-3.4.2-sources.jar": b"sources",
    "hadoop-3.4.2/share/hadoop/tools/lib/bundle-2.29.52.jar": b"half a gigabyte of AWS",
    "hadoop-3.4.2/share/hadoop/yarn/timelineservice/hadoop-yarn-server-timelineservice-3.4.2.jar": b"timeline",
    "hadoop-3.4.2/share/hadoop/yarn/timelineservice/hadoop-yarn-server-timelineservice-hbase-client-3.4.2.jar": b"no",
}
KEPT = {
    "hdfs/webapps/hdfs/index.html": b"page",
    "lib/gson-2.9.0.jar": b"gson",
    "lib/hadoop-common-3.4.2.jar": b"common",
    "lib/hadoop-hdfs-3.4.2.jar": b"hdfs",
    "lib/hadoop-mapreduce-examples-3.4.2.jar": b"examples",
    "lib/hadoop-yarn-server-timelineservice-3.4.2.jar": b"timeline",
}
PLUGIN_YAML = """\
description: for tests
version: "1"
payload: {kind: maven, pom: pom.xml, lock: jars.sha256, source: source}
settings:
  source: {type: text, description: another source}
"""
# Stands for the one Maven that this machine's network may not let work: it is called as Maven is.
MVN = """\
#!/bin/sh
echo run >>"$(dirname "$0")/runs"
for word; do case $word in -Dpayload=*) to=${word#-Dpayload=} ;; esac; done
mkdir -p "$to/lib" "$to/.markers" && cp "$(dirname "$0")"/*.jar "$to/lib/" && sleep 0.3
[ ! -e "$(dirname "$0")/slow" ] || exec sleep 60
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a home with a cache of its own."""
    return Home(tmp_path / "home", tmp_path / "cache")


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an `mvn` that fetches its own jars."""
    folder = tmp_path / "maven"
    folder.mkdir()
    (folder / "mvn").write_text(MVN)
    (folder / "mvn").chmod(0o755)
    (folder / "a.jar").write_bytes(b"aa")
    (folder / "b.jar").write_bytes(b"bb")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def hadoop(home: Home, **settings: str) -> ChosenPlugin:
    """Return the plugin hadoop with settings."""
    (chosen,) = resolve([PluginUse("hadoop", settings)], home)
    return chosen


def small(home: Home, lock: Mapping[str, bytes], **settings: str) -> ChosenPlugin:
    """Return a plugin of one's own that expects these files of Maven."""
    folder = home.plugins / "small"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plugin.yaml").write_text(PLUGIN_YAML)
    (folder / "pom.xml").write_text("<project/>")
    lines = (f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in lock.items())
    (folder / "jars.sha256").write_text("".join(lines))
    (chosen,) = resolve([PluginUse("small", settings)], home)
    return chosen


def get(chosen: ChosenPlugin, home: Home, progress: list[str] | None = None) -> Path:
    """Fetch, and return the archive."""
    lines: list[str] = [] if progress is None else progress
    path = fetch(chosen, home, lines.append)
    assert path is not None
    return path


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    """Write an archive."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def contents(archive: Path) -> dict[str, bytes]:
    """Return the files of an archive."""
    with tarfile.open(archive) as tar:
        return {member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None}


def left_behind(home: Home) -> list[str]:
    """Return the names in the cache that are neither archives, their digests nor locks."""
    names = (path.name for path in (home.cache / "payloads").iterdir())
    return [name for name in names if not name.endswith((".tar", ".sha256", ".lock"))]


def test_an_archive_of_apache_gives_the_jars_of_the_daemons(home: Home, tmp_path: Path) -> None:
    """Tests, sources, tools and second copies are left out; a jar and a page lie where Maven's do."""
    source = write_tar(tmp_path / "hadoop-3.4.2.tar.gz", APACHE)

    assert contents(get(hadoop(home, source=str(source)), home)) == KEPT


def test_what_was_fetched_is_a_source_itself(home: Home, tmp_path: Path) -> None:
    """The air-gap way: the archive out of one machine's cache is taken by another, byte for byte."""
    first = get(hadoop(home, source=str(write_tar(tmp_path / "hadoop.tar.gz", APACHE))), home)
    carried = tmp_path / "carried.tar"
    carried.write_bytes(first.read_bytes())
    second = get(hadoop(home, source=str(carried)), home)

    assert second != first
    assert second.read_bytes() == first.read_bytes()


def test_a_folder_of_jars_is_a_source(home: Home, tmp_path: Path) -> None:
    """Jars side by side, and other files that are of no use."""
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "x.jar").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"no jar")

    assert contents(get(hadoop(home, source=str(folder)), home)) == {"lib/x.jar": b"x"}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Return a folder and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_downloaded_once(home: Home, served: tuple[Path, str]) -> None:
    """The second time it comes from the cache, also when the server is gone."""
    folder, address = served
    write_tar(folder / "h.tar.gz", APACHE)
    chosen = hadoop(home, source=f"{address}/h.tar.gz")
    archive = get(chosen, home)
    (folder / "h.tar.gz").unlink()

    assert contents(archive) == KEPT
    assert get(chosen, home) == archive
    with pytest.raises(UsageError, match="other.tar.gz can't be downloaded: File not found"):
        get(hadoop(home, source=f"{address}/other.tar.gz"), home)


def test_parts_of_a_plugin_share_its_archive(home: Home, tmp_path: Path) -> None:
    """What was fetched for one is there for the others."""
    source = str(write_tar(tmp_path / "hadoop.tar.gz", APACHE))
    whole, *parts = (resolve([PluginUse(name, {"source": source})], home)[0] for name in ("hadoop", "hdfs", "yarn"))
    archive, fetched = get(whole, home), list[str]()

    assert [get(part, home, fetched) for part in parts] == [archive, archive]
    assert fetched == []


def test_a_source_that_anybody_can_change_on_its_way_is_said(home: Home) -> None:
    """Plain HTTP without a digest is named; with one, or over HTTPS, there is nothing to say."""
    assert "neither encrypted nor pinned" in unprotected_source(hadoop(home, source="http://x/y.tar.gz"))
    for settings in ({"source": "http://x/y", "source_digest": "0" * 64}, {"source": "https://x/y"}, {}):
        assert unprotected_source(hadoop(home, **settings)) == ""


def test_the_digest_of_an_archive_is_checked(home: Home, tmp_path: Path) -> None:
    """SHA-256 or SHA-512, as Apache publishes it; a wrong one is named beside the right one."""
    source = write_tar(tmp_path / "h.tar.gz", APACHE)
    right = hashlib.sha512(source.read_bytes()).hexdigest()
    get(hadoop(home, source=str(source), source_digest=right), home)

    with pytest.raises(UsageError) as caught:
        get(hadoop(home, source=str(source), source_digest="0" * 64), home)
    assert str(source) in caught.value.message
    assert f"expected sha256 {'0' * 64}" in caught.value.message
    assert f"got {hashlib.sha256(source.read_bytes()).hexdigest()}" in caught.value.message
    with pytest.raises(UsageError, match="can't be checked"):
        get(hadoop(home, source=str(source), source_digest="md5"), home)


@pytest.mark.parametrize("cut", [0, 100, -100])
def test_a_source_that_is_no_archive_is_refused(home: Home, tmp_path: Path, cut: int) -> None:
    """Empty, cut off, or something else altogether; nothing of it stays."""
    whole = write_tar(tmp_path / "whole.tar.gz", {"x.jar": os.urandom(100_000)}).read_bytes()
    source = tmp_path / "h.tar.gz"
    source.write_bytes(whole[:cut])

    with pytest.raises(UsageError, match="is no archive, or damaged"):
        get(hadoop(home, source=str(source)), home)
    assert left_behind(home) == []


def test_a_source_without_anything_of_use_is_refused(home: Home, tmp_path: Path) -> None:
    """The message says what would be of use."""
    source = write_tar(tmp_path / "h.tar.gz", {"README": b"no jar"})
    with pytest.raises(UsageError, match="nothing in .*h.tar.gz is of use"):
        get(hadoop(home, source=str(source)), home)


def test_a_source_that_is_not_there_is_refused(home: Home, tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(UsageError, match="nowhere.tar.gz: No such file"):
        get(hadoop(home, source=str(tmp_path / "nowhere.tar.gz")), home)


def test_an_archive_writes_nowhere_but_into_its_folder(home: Home, tmp_path: Path) -> None:
    """Names that lead outside are left out, links as well."""
    source = write_tar(tmp_path / "h.tar", {"lib/x.jar": b"x", "hdfs/webapps/../../../../evil": b"!"}, "w")
    with tarfile.open(source, "a") as tar:
        link = tarfile.TarInfo("lib/link.jar")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    assert contents(get(hadoop(home, source=str(source)), home)) == {"lib/x.jar": b"x"}
    assert not list(tmp_path.rglob("evil"))


def test_a_source_that_has_changed_is_read_again(home: Home, tmp_path: Path) -> None:
    """The old archive does not pass for the new one."""
    source = write_tar(tmp_path / "h.tar", {"x.jar": b"old"}, "w")
    chosen = hadoop(home, source=str(source))
    assert contents(get(chosen, home)) == {"lib/x.jar": b"old"}
    write_tar(source, {"x.jar": b"newer"}, "w")

    assert contents(get(chosen, home)) == {"lib/x.jar": b"newer"}


def test_an_archive_depends_on_nothing_but_names_and_contents(tmp_path: Path) -> None:
    """Neither on times, nor on rights, nor on the order in which files were made."""
    for folder, names in (("one", ["b", "a", "c/d"]), ("two", ["c/d", "a", "b"])):
        for name in names:
            file = tmp_path / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
    (tmp_path / "two/a").chmod(0o600)
    os.utime(tmp_path / "two/b", (1, 1))
    pack(tmp_path / "one", tmp_path / "one.tar")
    pack(tmp_path / "two", tmp_path / "two.tar")

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_maven_is_asked_once_for_all(home: Home, maven: Path) -> None:
    """Two at the same time and one later share what the first has fetched."""
    chosen = small(home, {"lib/a.jar": b"aa", "lib/b.jar": b"bb"})
    threads = [threading.Thread(target=get, args=(chosen, home)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    archive = get(chosen, home)

    assert contents(archive) == {"lib/a.jar": b"aa", "lib/b.jar": b"bb"}
    assert (maven / "runs").read_text().split() == ["run"]
    assert left_behind(home) == []


def test_every_wrong_digest_is_named_with_both_digests(home: Home, maven: Path) -> None:
    """Changed, missing and surplus files, all at once; nothing of them is kept."""
    chosen = small(home, {"lib/a.jar": b"other", "lib/c.jar": b"cc"})
    with pytest.raises(InvalidInput) as caught:
        get(chosen, home)
    wrong, surplus, missing = caught.value.problems

    assert wrong.where == "payload of small: lib/a.jar"
    assert wrong.what == (
        f"SHA-256 {hashlib.sha256(b'aa').hexdigest()}, expected SHA-256 {hashlib.sha256(b'other').hexdigest()}"
    )
    assert surplus.what == f"SHA-256 {hashlib.sha256(b'bb').hexdigest()}, expected no such file"
    assert missing.what == f"no such file, expected SHA-256 {hashlib.sha256(b'cc').hexdigest()}"
    assert caught.value.exit_code == 2
    assert not list((home.cache / "payloads").glob("*.tar"))
    assert left_behind(home) == []


def test_a_damaged_archive_is_made_again(home: Home, maven: Path) -> None:
    """Nodes could not tell."""
    chosen = small(home, {"lib/a.jar": b"aa", "lib/b.jar": b"bb"})
    archive = get(chosen, home)
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-600])
    progress: list[str] = []

    assert get(chosen, home, progress).read_bytes() == whole
    assert any("damaged" in line for line in progress)


@pytest.mark.parametrize("place", ["lib/a.jar", "lib/evil.jar", "link", "behind", "order"])
def test_what_is_pinned_is_compared_with_its_lock_at_each_use(home: Home, maven: Path, place: str) -> None:
    """An archive of other content, with a digest that fits it, is made again: the lock decides, nothing beside it."""
    chosen = small(home, {"lib/a.jar": b"aa", "lib/b.jar": b"bb"})
    archive = get(chosen, home)
    whole = archive.read_bytes()
    files = {"lib/a.jar": b"aa", "lib/b.jar": b"bb"}
    if place in ("behind", "order"):
        write_tar(archive, dict(reversed(files.items())) if place == "order" else files, "w:")
        archive.write_bytes(archive.read_bytes() + (whole if place == "behind" else b""))
    else:
        write_tar(archive, files | {place: b"evil"}, "w:")
    archive.with_suffix(".sha256").write_text(hashlib.sha256(archive.read_bytes()).hexdigest())

    assert get(chosen, home).read_bytes() == whole


def test_a_pinned_archive_that_is_as_locked_is_used(home: Home, maven: Path, tmp_path: Path) -> None:
    """Maven is asked once, also where names are long and files are large."""
    name = f"lib/{'n' * 120}.jar"
    (maven / f"{'n' * 120}.jar").write_bytes(b"n" * 3_000_000)
    chosen = small(home, {"lib/a.jar": b"aa", "lib/b.jar": b"bb", name: b"n" * 3_000_000})
    assert get(chosen, home) == get(chosen, home)
    assert (maven / "runs").read_text().split() == ["run"]


def test_whoever_is_killed_while_fetching_leaves_nothing(home: Home, maven: Path) -> None:
    """The next one removes the rest and fetches."""
    chosen = small(home, {"lib/a.jar": b"aa", "lib/b.jar": b"bb"})
    (maven / "slow").touch()
    code = f"""
import sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from tests.unit.test_payloads import *
home = Home(Path({str(home.root)!r}), Path({str(home.cache)!r}))
get(resolve([PluginUse("small", {{}})], home)[0], home)
"""
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not (maven / "runs").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:  # its Maven ends a moment later
            os.killpg(process.pid, 0)
            time.sleep(0.02)
    assert left_behind(home) != []
    (maven / "slow").unlink()

    assert contents(get(chosen, home)) == {"lib/a.jar": b"aa", "lib/b.jar": b"bb"}
    assert left_behind(home) == []


def test_whoever_tells_may_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the one who is told how far it is, as after Ctrl-C, ends the program that fetches."""
    monkeypatch.setattr(payload_sources, "_PAUSE", 0)
    pid = tmp_path / "pid"

    def progress(line: str) -> None:
        raise Interrupted(line)

    with pytest.raises(Interrupted):
        payload_sources.run_fetcher(
            ["sh", "-c", f"echo $$ >{pid}; echo far; exec sleep 60"], str.strip, progress, complains="no"
        )
    assert not Path("/proc", pid.read_text().strip()).exists()


def test_without_maven_the_message_says_what_to_do(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which package to install, or which setting to give."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError) as caught:
        get(small(home, {}), home)

    assert "there is no mvn on this machine" in caught.value.message
    assert "apt-get install maven" in caught.value.hint
    assert "--set small.source=PATH|URL" in caught.value.hint


def test_a_failing_maven_is_quoted(home: Home, maven: Path) -> None:
    """With its own first complaint."""
    (maven / "mvn").write_text("#!/bin/sh\necho '[ERROR] Could not resolve x:y:1'\necho '[ERROR] Help'\nexit 1\n")
    with pytest.raises(UsageError, match="Maven can't fetch small: Could not resolve x:y:1"):
        get(small(home, {}), home)


def test_a_full_disk_is_named(home: Home, tmp_path: Path) -> None:
    """With the folder that can be changed; half an archive does not stay."""
    source = write_tar(tmp_path / "h.tar", {"x.jar": os.urandom(200_000)}, "w")
    code = f"""
import sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from tests.unit.test_payloads import *
import resource as limits
limits.setrlimit(limits.RLIMIT_FSIZE, (100_000, 100_000))
home = Home(Path({str(home.root)!r}), Path({str(home.cache)!r}))
try:
    get(hadoop(home, source={str(source)!r}), home)
except UsageError as error:
    print(error.message, "|", error.hint)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert "payload of hadoop: " in answer.stdout, answer.stderr
    assert "File too large" in answer.stdout
    assert "CM_CACHE" in answer.stdout
    assert left_behind(home) == []
    assert not list((home.cache / "payloads").glob("*.tar"))


def test_the_lock_file_of_hadoop_is_sound() -> None:
    """It lists the jars of the version that plugin.yaml names, each once."""
    digests = read_lock(resource("scripts", "hadoop", "payload", "jars.sha256"))

    assert "lib/hadoop-common-3.4.2.jar" in digests
    assert "hdfs/webapps/hdfs/dfshealth.html" in digests
    assert len(digests) > 150


def test_a_malformed_lock_file_is_refused_by_line(tmp_path: Path) -> None:
    """Each bad line by its number."""
    lock = tmp_path / "jars.sha256"
    lock.write_text(f"{'0' * 64}  lib/a.jar\nlib/b.jar\n123  lib/c.jar\n")
    with pytest.raises(InvalidInput) as caught:
        read_lock(lock)

    assert [problem.where for problem in caught.value.problems] == [f"{lock}:2", f"{lock}:3"]
