"""The pure parts of the node engine: ids, limits, networks, proxies; and that it stands on its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cloudmesh_cluster.providers.local.engine import console, dial, egress, ids, launch, limits, messages, tuning
from cloudmesh_cluster.providers.local.engine.engine import Engine, NodeSpec
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.holder import Settings
from cloudmesh_cluster.providers.local.engine.ids import FIRST_FREE_CANDIDATE, IDS_OF_A_NODE, Ids
from cloudmesh_cluster.providers.local.engine.processes import marked_processes

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "cloudmesh_cluster" / "providers" / "local" / "engine"


def test_it_needs_nothing_but_the_standard_library() -> None:
    """Every module of the engine is imported by a Python that has no site packages."""
    names = [f"cloudmesh_cluster.providers.local.engine.{file.stem}" for file in sorted(ENGINE.glob("[a-z]*.py"))]
    program = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import importlib
for name in {names!r}: importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)

    assert len(names) > 10
    assert (0, "") == (done.returncode, done.stderr)


def test_roots_range_is_the_first_that_nobody_has() -> None:
    """A row that overlaps a candidate by a single id moves the range on; others don't."""
    first, size = FIRST_FREE_CANDIDATE, IDS_OF_A_NODE

    assert first == ids.free_range([])
    assert first == ids.free_range([(100000, 65536), (first - 10, 10), (first + size, 1)])
    assert first + size == ids.free_range([(first - 10, 11)])
    assert first + 2 * size == ids.free_range([(first + size - 1, 2)])


def test_roots_range_can_be_exhausted() -> None:
    """A row that has it all is an error that says where to look."""
    with pytest.raises(EngineError) as raised:
        ids.free_range([(0, 1 << 32)])

    assert "/etc/subuid" in raised.value.hint


def test_a_user_gets_the_largest_range_under_name_or_number() -> None:
    """Rows of others, comments and broken rows don't count."""
    lines = ["# comment", "ann:100000:1000", "1000:200000:65536", "bob:300000:999999", "ann:x:1", "ann"]

    assert (200000, 65536) == ids.subordinate_range(lines, frozenset({"ann", "1000"}))
    assert ids.subordinate_range(lines, frozenset({"eve"})) is None


@pytest.mark.parametrize(
    ("gateway", "tap"),
    [("10.88.0.1/16", "10.0.2.0/24"), ("10.0.0.1/8", "192.168.127.0/24"), ("10.0.2.129/25", "192.168.127.0/24")],
)
def test_the_tap_keeps_out_of_the_nodes_network(gateway: str, tap: str) -> None:
    """The network between slirp4netns and the bridge never overlaps the nodes' own."""
    assert tap == str(egress.free_network(gateway))


def test_proxies_of_apt_are_taken_over() -> None:
    """Only settings of proxies are taken from what apt-config prints."""
    dump = [
        'Acquire "";',
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https::Proxy::mirror.test "DIRECT";',
        'Acquire::Languages "none";',
        'Acquire::http::Proxy "";',
    ]

    expected = ["Acquire::http::Proxy=http://proxy:3128", "Acquire::https::Proxy::mirror.test=DIRECT"]
    assert expected == tuning.proxy_options(dump)


MOUNTS = """\
proc /proc proc rw 0 0
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/cpuacct cgroup rw,relatime,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
"""


def test_cgroups_of_version_1() -> None:
    """Memory, CPU and processes have a hierarchy each, and each takes only its own limit."""
    cpu, memory, pids = limits.hierarchies(MOUNTS)

    assert ("/sys/fs/cgroup/cpu", 1) == (str(cpu.root), cpu.version)
    assert {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"} == limits.settings(
        cpu, memory_mib=512, cpus=1.5
    )
    assert {"memory.limit_in_bytes": str(512 << 20)} == limits.settings(memory, memory_mib=512, cpus=1.5)
    assert {} == limits.settings(memory, memory_mib=None, cpus=1.5)
    assert {"pids.max": str(limits.most_processes())} == limits.settings(pids, memory_mib=512, cpus=None)


def test_cgroups_of_version_2() -> None:
    """One hierarchy takes all limits."""
    (all_,) = limits.hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n")

    most = str(limits.most_processes())
    expected = {"memory.max": str(512 << 20), "cpu.max": "50000 100000", "pids.max": most}
    assert expected == limits.settings(all_, memory_mib=512, cpus=0.5)


def test_settings_of_a_holder_survive_json() -> None:
    """What a holder is started with is read back as it was written."""
    rows = ((0, 1000, 1), (1, 100000, 65536))
    settings = Settings("/a b", "/images", "10.88.0.1/16", Ids(rows, rows), egress=True)

    assert settings == Settings.from_json(settings.to_json())
    assert (1000, 1000) == settings.ids.root


def test_messages_carry_descriptors(tmp_path: Path) -> None:
    """A message arrives whole, with open files that are the sender's."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there, (tmp_path / "file").open("w+") as file:
        messages.send(here, {"do": "x" * 10000}, [file.fileno()])
        message, (received,) = messages.receive(there)
        os.write(received, b"hello")
        os.close(received)
        here.close()

        assert {"do": "x" * 10000} == message
        assert "hello" == (tmp_path / "file").read_text()
        with pytest.raises(EOFError):
            messages.receive(there)


def test_reaching_into_nothing_is_an_error(tmp_path: Path) -> None:
    """A folder without a holder, however long its path, is a stopped engine."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()

    with pytest.raises(EngineError, match="not running"):
        dial.inner_socket(folder)


def test_a_proxy_command_that_fails_says_why(tmp_path: Path) -> None:
    """The user of ssh sees one line, not a traceback."""
    words = dial.proxy_command(tmp_path, "10.88.0.2")
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert 1 == done.returncode
    assert [f"10.88.0.2:22: the nodes in {tmp_path} are not running (No such file or directory)"] == (
        done.stderr.splitlines()
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../n1"},
        {"name": "n 1"},
        {"hostname": "-n"},
        {"address": "10.88.0.2/33"},
        {"address": "n1"},
        {"mac": "02:63\nlink del"},
    ],
)
def test_what_is_no_name_or_address_is_refused(wrong: dict[str, str]) -> None:
    """What ends up in paths and in commands of `ip` is looked at first."""
    good = NodeSpec("n1", "10.88.0.2/16", layers=(), drive=Path("/"), hostname="n", mac="02:63:0a:58:00:02")

    with pytest.raises(EngineError):
        replace(good, **wrong)  # type: ignore[arg-type]


def test_an_engine_that_never_was_can_be_cleaned_up(tmp_path: Path) -> None:
    """Asking and removing make no folder, and start nothing."""
    engine = Engine(tmp_path / "never", tmp_path / "images")

    engine.cleanup()
    engine.destroy(["n1"])

    assert ([], {}, "") == (engine.leftovers(), engine.running(), engine.console("n1"))
    assert [] == list(tmp_path.iterdir())


def test_processes_are_marked_and_have_nothing_of_the_users_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an engine's process names its folder, and carries no secret."""
    monkeypatch.setenv("OS_PASSWORD", "secret")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    environment = launch.environment(Path("/some/folder"))

    assert "/some/folder" == environment[launch.MARKER]
    assert "http://proxy:3128" == environment["https_proxy"]
    assert "OS_PASSWORD" not in environment


def test_a_long_console_is_read_in_part(tmp_path: Path) -> None:
    """Its beginning and its end are there, and it takes little memory, however much a node has written."""
    file = tmp_path / "console.log"
    file.write_text("first\n")
    assert "first\n" == console.read_console(file)

    with file.open("ab") as written:
        written.truncate(700 << 20)
        written.write(b"last\n")
    text = console.read_console(file)

    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert f"[... {(700 << 20) + 5 - (1 << 20)} bytes are left out here ...]" in text
    assert len(text) < (1 << 20) + 100


def test_only_ones_own_processes_count(tmp_path: Path) -> None:
    """A process of another user that says that it belongs to an engine is neither found nor ended."""
    marked = {**os.environ, launch.MARKER: str(tmp_path)}
    users = [None, "nobody"] if os.geteuid() == 0 else [None]
    started = [subprocess.Popen(["sleep", "60"], env=marked, user=user) for user in users]
    try:
        assert [started[0].pid] == list(marked_processes(tmp_path))
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_programs_of_a_node_are_sound(tmp_path: Path) -> None:
    """The shell and Python programs that the image gets pass shellcheck and compile."""
    files = tuning.files()
    script = tmp_path / "init"
    script.write_text(files[tuning.INIT][1])
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout)
    compile(files["/usr/lib/node/boot"][1], "boot", "exec")
