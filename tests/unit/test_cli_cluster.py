"""What the commands on clusters take and print; the operations themselves are tested on real nodes."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cloudmesh_cluster.cli.main import main
from cloudmesh_cluster.cli.script import run_lines
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.core.errors import ChecksFailed
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult, CommandResult
from cloudmesh_cluster.operations.journal import StepTime
from cloudmesh_cluster.operations.steps.finish import Summary
from cloudmesh_cluster.operations.write import WriteRequest, WriteResult
from cloudmesh_cluster.views.summary import summary_as
from tests.conftest import why_no_nodes
from tests.support.command_line import CommandLine
from tests.support.journalled import add_cluster

CHECKS = [
    CheckResult("names", "t-master", "as everywhere", "as everywhere", ok=True, seconds=0.1),
    CheckResult("names", "t-worker-1", "as everywhere", "as everywhere", ok=True, seconds=0.2),
    CheckResult("port 8020", "t-worker-2", "answers", "refused", ok=False, seconds=30.0),
]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The home that `main` uses."""
    monkeypatch.setenv("CM_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home", tmp_path / "cache")


def test_dry_run_shows_the_plan_and_touches_nothing(cm: CommandLine) -> None:
    """The first line says which provider and why; JSON is the plan itself; no home, no cluster comes of it."""
    code = 2 if why_no_nodes() else 0
    said = cm("cluster", "create", "t", "--dry-run", "-n", "3", expect=code).stdout
    plan = json.loads(cm("cluster", "create", "t", "--dry-run", "-n", "3", "-f", "json", expect=code).stdout)

    first = said.splitlines()[0]
    assert "3 workers on provider local (no other is configured)" in first
    assert said.rstrip().splitlines()[-1].startswith("t-worker-3")
    assert [node["name"] for node in plan["nodes"]] == ["t-master", "t-worker-1", "t-worker-2", "t-worker-3"]
    assert plan["provider"] == "local"
    assert not (cm.home / "clusters" / "t").exists()
    assert cm("cluster", "list", "-f", "json").stdout == "[]\n"


def test_nodes_that_are_started_here_are_not_trusted_on_first_use(
    own_home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where host keys are known before anybody answers, the option is wrong usage, for every command that has it."""
    add_cluster(own_home, "t")
    for words in ("create u --provider local --dry-run", "scale t +1", "replace t worker-1"):
        assert main(["cluster", *words.split(), "--trust-on-first-use"]) == 2
        assert "their host keys are known before anybody answers" in capsys.readouterr().err
    assert main(["cluster", "history", "-f", "json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_rows_have_the_keys_of_the_contract(own_home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Clusters and nodes are printed with stable keys, in order."""
    add_cluster(own_home, "t")
    assert main(["cluster", "list", "-f", "json"]) == 0
    [cluster] = json.loads(capsys.readouterr().out)
    assert main(["cluster", "nodes", "t", "-f", "json"]) == 0
    nodes = json.loads(capsys.readouterr().out)

    known = ["name", "state", "provider", "profile", "nodes", "created_at"]
    assert list(cluster) == [*known, "verified", "checks", "failed_checks"]
    assert cluster["nodes"] == 3
    stable = ["name", "role", "index", "state", "private_ip", "public_ip", "provider_id"]
    assert list(nodes[0]) == stable
    assert [node["index"] for node in nodes] == [0, 1, 2]
    assert main(["cluster", "nodes", "t", "-f", "json", "-c", "host_key_from"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"host_key_from": None}] * 3


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[WriteRequest]:
    """What `write` asks for; there are no nodes here."""
    from cloudmesh_cluster.operations import write as operation

    requests: list[WriteRequest] = []

    async def write(home: Home, request: WriteRequest, emit: object) -> WriteResult:
        requests.append(request)
        return WriteResult((CommandResult("t-master", 0, "long\n" * 100, "", 0.5),), "d", 1, "logs")

    monkeypatch.setattr(operation, "write", write)
    return requests


@pytest.mark.parametrize(
    ("line", "stdin", "content"),
    [
        ("cluster write t master", "touch /tmp/a\n", b"touch /tmp/a\n"),
        ("cluster write t master --file -", "from stdin\n", b"from stdin\n"),
        ("cluster write t master --file {file}", "not read", b"from file\n"),
        ("cluster write t master echo 'a  b'", "not read", b"echo 'a  b'\n"),
        ("cluster write t master 'echo a | wc'", "not read", b"echo a | wc\n"),
        ("cluster write t master -- echo --file x", "not read", b"echo --file x\n"),
    ],
)
def test_the_script_of_one_shot_write(
    written: list[WriteRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, stdin: str, content: bytes
) -> None:
    """Words or `--file` win and nothing is read; with neither, standard input is the script."""
    (tmp_path / "file").write_text("from file\n")
    given = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    monkeypatch.setattr("sys.stdin", given)

    assert main(shlex.split(line.format(file=tmp_path / "file"))) == 0
    assert [request.content for request in written] == [content]
    assert given.read() == (stdin if stdin == "not read" else "")


@pytest.mark.parametrize(
    ("lines", "content"),
    [
        (["cluster write t master <<'EOF'", "echo $HOME # it's", "EOF"], b"echo $HOME # it's\n"),
        (["cluster write t master < {file}"], b"from file\n"),
        (["cluster write t master --file {file}"], b"from file\n"),
        (["cluster write t master \\", " echo 'a  b'"], b"echo 'a  b'\n"),
        (["cluster write t master true <<EOF", "not used", "EOF"], b"true\n"),
    ],
)
def test_the_script_of_write_in_a_script(
    written: list[WriteRequest], own_home: Home, tmp_path: Path, lines: list[str], content: bytes
) -> None:
    """In a script `< FILE` and here-documents are the script."""
    (tmp_path / "file").write_text("from file\n")
    lines = [line.format(file=tmp_path / "file") for line in lines]

    assert run_lines(lines, Session(own_home, {}), name="test") == 0
    assert [request.content for request in written] == [content]


def test_options_of_write(written: list[WriteRequest], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option arrives; the table repeats no output that was streamed, JSON has it."""
    (tmp_path / "undo.sh").write_text("rm x\n")
    options = f"--expect done --expect-exit 3 --test 'test -e x' --undo {tmp_path}/undo.sh --on-failure rebuild"
    assert main(shlex.split(f"cluster write t compute --no-run --timeout 2m {options} touch x")) == 0

    assert written == [
        WriteRequest(
            "t", "compute", b"touch x\n", "touch x", expect="done", expect_exit=3, test="test -e x", undo=b"rm x\n",
            on_failure="rebuild", run=False, timeout=120.0,
        )
    ]  # fmt: skip
    assert "long" not in capsys.readouterr().out
    assert main(shlex.split("cluster write t worker -f json true")) == 0
    assert json.loads(capsys.readouterr().out)[0]["stdout"] == "long\n" * 100


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of which one answers otherwise, one fails and one does not answer."""
    from cloudmesh_cluster.operations import command as operation

    async def command(home: Home, name: str, words: Sequence[str], **options: Any) -> list[CommandResult]:
        same = [CommandResult(f"t-worker-{i}", 0, "same\n", "", 0.1) for i in (1, 2, 3, 5)]
        odd = CommandResult("t-worker-4", 0, "other\nlines\n", "", 0.1)
        bad = CommandResult("t-master", 2, "", "ls: no such file\n", 0.1)
        gone = CommandResult("t-worker-6", -1, "", "timed out after 5 s\n", 5.0)
        return [bad, *same, odd, gone]

    monkeypatch.setattr(operation, "command", command)


def test_equal_answers_are_folded(answers: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Nodes that say the same share a line, odd ones stand last, and one non-zero answer makes it exit 1."""
    assert main(["cluster", "cmd", "t", "ls"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "worker-[1-3,5]: same",
        "master [exit 2]: ls: no such file",
        "worker-4:",
        "  other",
        "  lines",
        "worker-6 [no answer]: timed out after 5 s",
    ]


def test_cmd_in_json_has_a_row_for_each_node(answers: None, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON folds nothing, and has the keys of the contract."""
    assert main(["cluster", "cmd", "t", "-f", "json", "ls"]) == 1
    rows = json.loads(capsys.readouterr().out)

    assert len(rows) == 7
    assert list(rows[0]) == ["node", "exit", "stdout", "stderr", "seconds"]


def test_verify_shows_all_results_and_exits_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When a check fails, good and bad results are printed, JUnit is written, and the exit code is 3."""
    from cloudmesh_cluster.operations import verify as operation

    asked: list[bool] = []

    async def verify(
        home: Home, name: str, emit: object, *, full_mesh: bool = False, once: bool = False
    ) -> list[CheckResult]:
        asked.append(full_mesh)
        raise ChecksFailed(CHECKS)

    monkeypatch.setattr(operation, "verify", verify)
    assert main(["cluster", "verify", "t", "--junit", str(tmp_path / "x.xml"), "--full-mesh"]) == 3
    said = capsys.readouterr()
    assert main(["cluster", "verify", "t", "-f", "json"]) == 3
    rows = json.loads(capsys.readouterr().out)

    assert asked == [True, False]
    assert [" ".join(line.split()) for line in said.out.splitlines()[1:]] == [
        "names t-master,t-worker-1 as everywhere as everywhere yes 0.20",
        "port 8020 t-worker-2 answers refused no 30.00",
    ]
    assert "port 8020 on t-worker-2: expected answers, found refused" in said.err
    assert [list(row) for row in rows] == [["check", "node", "expected", "actual", "ok", "seconds"]] * 3
    assert (tmp_path / "x.xml").read_text().count("<testcase ") == 3


def test_the_summary_says_everything(own_home: Home) -> None:
    """At the end stand the nodes, the checks, how to log in, the user interfaces and what took how long."""
    summary = Summary(
        add_cluster(own_home, "t"), tuple(CHECKS[:2]), 61.25, (StepTime("provision", 2.0), StepTime("scripts", 0.0)),
        "cm cluster ssh t", (("namenode", "http://t-master:9870"),), ("a slow disk",),
    )  # fmt: skip
    text, record = summary_as("table", summary)
    parsed = json.loads(summary_as("json", summary)[0])

    pages = "pages: cm cluster open t (namenode)"
    for part in ("t-worker-2", "names", "cm cluster ssh t", pages, "warning: a slow disk"):
        assert part in text
    assert "cluster t is ready: 3 nodes, 2 checks ok, 61.2 s" in text
    assert "time: provision 2.0 s\n" in text
    assert parsed == json.loads(json.dumps(record))
    assert list(parsed) == ["cluster", "nodes", "checks", "seconds", "steps", "login", "uis", "warnings"]
