"""Scripts written to a running cluster: judged, taken back when they fail, remembered and replayed when they don't."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.command_line import Answer, CommandLine


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `t` of one worker."""
    shared_cm("cluster", "create", "t", "-n", "1", timeout=600)
    yield shared_cm


def write(cm: CommandLine, *words: str, expect: int = 0, stdin: str = "") -> Answer:
    """Run `cm cluster write t WORDS...`."""
    return cm("cluster", "write", "t", *words, expect=expect, stdin=stdin)


def written(cm: CommandLine) -> list[dict[str, Any]]:
    """Return the scripts that the cluster remembers."""
    rows: list[dict[str, Any]] = json.loads(cm("cluster", "scripts", "t", "-f", "json").stdout)
    return rows


def on_node(cm: CommandLine, node: str, line: str) -> str:
    """Return what a shell line prints on a node."""
    return cm("cluster", "ssh", "t", "-t", node, "--", line).stdout.strip()


def script(cm: CommandLine, name: str, content: str) -> str:
    """Store a script in the home and return its path."""
    path = cm.home / name
    path.write_text(content, encoding="latin-1")
    return str(path)


def test_a_good_script_is_remembered_with_its_output(cluster: CommandLine) -> None:
    """A script from standard input runs as root on its role, is judged by its output, and listed with its result."""
    answer = write(cluster, "master", "--expect", "^done$", stdin="id -un >/tmp/who\necho done\n")

    assert "done" in answer.stdout + answer.stderr
    assert "root" == on_node(cluster, "master", "cat /tmp/who")
    last = written(cluster)[-1]
    assert ("master", "remembered", {"t-master": 0}) == (last["role"], last["state"], last["result"])
    show = cluster("cluster", "scripts", "t", "--show", str(last["order"])).stdout
    assert "id -un >/tmp/who\necho done\n" == show
    logs = cluster.home / "clusters" / "t" / "logs"
    assert ["done\n"] == [path.read_text() for path in logs.glob("*-write-*/t-master.*.log")]


def test_a_failing_line_is_reported_and_the_script_forgotten(cluster: CommandLine) -> None:
    """Without a shebang bash stops at the first failing line and names it; the script is not remembered."""
    before = written(cluster)
    path = script(cluster, "bad.sh", "echo one\nls /does-not-exist\ntouch /tmp/never\n")
    answer = write(cluster, "worker", "--file", path, expect=1)

    assert "t-worker-1" in answer.stderr
    assert "script bad.sh failed on t-worker-1, line 2: ls: cannot access '/does-not-exist'" in answer.stderr
    assert "outcome: kept" in answer.stderr
    (log,) = (cluster.home / "clusters" / "t" / "logs").glob("*/t-worker-1.bad.sh.log")
    assert str(log.parent) in answer.stderr
    assert "one\n" in log.read_text()
    assert before == written(cluster)
    assert "no" == on_node(cluster, "worker-1", "test -e /tmp/never && echo yes || echo no")
    cluster("cluster", "verify", "t")


def test_a_shebang_is_honoured_and_stdin_is_closed(cluster: CommandLine) -> None:
    """A Python script runs under Python; whatever reads standard input finds its end."""
    path = script(
        cluster,
        "try.py",
        "#!/usr/bin/env python3\nimport os, sys\nprint(sys.stdin.read() == '', os.environ['CM_ROLE'])\n",
    )
    write(cluster, "all", "--file", path, "--expect", "^True (master|worker)$")
    write(cluster, "all", "--expect", "^0$", "cat | wc -c")


def test_environment_of_scripts(cluster: CommandLine) -> None:
    """Every script is told the cluster, its own role, name and index, and all others by name."""
    line = 'echo "$CM_CLUSTER $CM_ROLE $CM_NODE $CM_INDEX $CM_MASTER $CM_WORKERS|$CM_NODES"; echo "$CM_MASTER_IP"'
    expected = r"^t master t-master 0 t-master t-worker-1\|t-master t-worker-1\n10\.88\.0\.10$"
    write(cluster, "master", "--expect", expected, line)


@pytest.mark.parametrize(
    ("options", "line", "said"),
    [
        (["--expect", "^yes$"], "echo no", "nothing in its output matches"),
        (["--expect-exit", "3"], "exit 4", "expected exit status 3, got 4"),
        (["--expect-exit", "3"], "true", "expected exit status 3, got 0"),
        (["--test", "test -e /tmp/made"], "true", "the test of script"),
        (["--timeout", "1s"], "sleep 60", "timed out after 1 s"),
        (["--timeout", "1s", "--test", "sleep 60"], "true", "the test of script"),
    ],
)
def test_a_script_that_does_not_do_what_is_expected_is_forgotten(
    cluster: CommandLine, options: list[str], line: str, said: str
) -> None:
    """Output, exit status, test and time are judged; each is exit 1 with the reason, and nothing is remembered."""
    before = written(cluster)

    assert said in write(cluster, "worker", *options, line, expect=1).stderr
    assert before == written(cluster)


def test_a_script_that_does_what_is_expected_is_remembered(cluster: CommandLine) -> None:
    """An exit status other than 0 is good where it is expected, and a test that succeeds is as well."""
    before = written(cluster)
    write(cluster, "worker", "--expect-exit", "3", "--test", "test -e /tmp/made", "touch /tmp/made; exit 3")

    assert len(before) + 1 == len(written(cluster))


def test_a_script_that_is_out_of_time_is_killed_on_its_node(cluster: CommandLine) -> None:
    """After --timeout no process of the script is left on the node."""
    write(cluster, "worker", "--timeout", "1s", "sleep 4321 & sleep 4321", expect=1)

    assert "0" == on_node(cluster, "worker-1", "pgrep -fxc 'sleep 4321' || true")


def test_undo_runs_where_the_script_ran(cluster: CommandLine) -> None:
    """With --undo a failed script is taken back on its nodes and forgotten; the undo is not remembered either."""
    before = written(cluster)
    undo = script(cluster, "undo.sh", '# défaire\nrm /tmp/half; echo "$CM_NODE" >/tmp/undone\n')
    answer = write(cluster, "worker", "--undo", undo, "touch /tmp/half; false", expect=1)

    assert "outcome: undone" in answer.stderr
    assert "t-worker-1" == on_node(cluster, "worker-1", "test ! -e /tmp/half && cat /tmp/undone")
    assert "no" == on_node(cluster, "master", "test -e /tmp/undone && echo yes || echo no")
    assert before == written(cluster)
    write(cluster, "worker", "--on-failure", "undo", "true", expect=2)


def test_an_undo_that_fails_is_named(cluster: CommandLine) -> None:
    """An undo that fails is exit 4 and says of which script and where; the cluster can be used further."""
    undo = script(cluster, "undo.sh", "exit 9\n")
    answer = write(cluster, "worker", "--undo", undo, "false", expect=4)

    assert "left: " in answer.stderr
    assert "exit status 9" in answer.stderr
    assert "t-worker-1" in answer.stderr
    cluster("cluster", "verify", "t")
    write(cluster, "worker", "true")


def test_an_undo_that_is_out_of_time_is_given_up(cluster: CommandLine) -> None:
    """The time that a script has on a node is what its undo has too."""
    undo = script(cluster, "undo.sh", "sleep 600\n")
    answer = write(cluster, "worker", "--timeout", "5s", "--undo", undo, "false", expect=4)

    assert "timed out after 5 s" in answer.stderr


def test_a_script_can_be_stored_without_being_run(cluster: CommandLine) -> None:
    """With --no-run a script waits for nodes to come; those that are there are as well without it."""
    write(cluster, "worker", "--no-run", "touch /tmp/later")

    assert {"t-worker-1": "not run"} == written(cluster)[-1]["result"]
    cluster("cluster", "verify", "t")
    assert "no" == on_node(cluster, "worker-1", "test -e /tmp/later && echo yes || echo no")


def test_rebuild_gives_a_fresh_node_with_the_earlier_scripts(cluster: CommandLine) -> None:
    """With --on-failure rebuild the node where a script failed is made anew and the scripts before it run again."""
    write(cluster, "worker", "echo earlier >/tmp/earlier")
    answer = write(cluster, "worker", "--on-failure", "rebuild", "touch /tmp/half; false", expect=1)

    assert "outcome: rebuilt" in answer.stderr
    assert "earlier" == on_node(cluster, "worker-1", "test ! -e /tmp/half && cat /tmp/earlier")
    assert "yes" == on_node(cluster, "worker-1", "test -e /tmp/later && echo yes")
    cluster("cluster", "verify", "t", "--full-mesh")
    assert [] == list((cluster.home / "clusters" / "t").glob("bootstrap-*"))


def test_new_nodes_run_what_was_written(cluster: CommandLine) -> None:
    """Nodes that scale adds, and a node that replace makes anew, run the remembered scripts of their role in order."""
    write(cluster, "worker", "echo first >>/tmp/order")
    write(cluster, "all", "echo everywhere >>/tmp/order")
    write(cluster, "worker", "echo second >>/tmp/order")
    cluster("cluster", "scale", "t", "+1")
    assert "everywhere first second" == on_node(cluster, "worker-2", "xargs </tmp/order")
    assert "first everywhere second" == on_node(cluster, "worker-1", "xargs </tmp/order")
    assert all("t-worker-2" in row["result"] for row in written(cluster) if row["role"] == "worker")

    cluster("cluster", "replace", "t", "worker-1")
    assert "everywhere first second" == on_node(cluster, "worker-1", "xargs </tmp/order")
    cluster("cluster", "verify", "t", "--full-mesh")
    cluster("cluster", "scale", "t", "1")
    assert "t-worker-2" not in cluster("cluster", "cmd", "t", "--", "cat", "/etc/hosts").stdout


def test_a_script_has_no_more_time_on_later_nodes(cluster: CommandLine) -> None:
    """A script that outlasts its --timeout on a new node ends the scale, which is taken back; the others have it."""
    write(cluster, "worker", "--timeout", "2s", '[ "$CM_INDEX" = 1 ] || sleep 4321')
    answer = cluster("cluster", "scale", "t", "+1", expect=1)
    assert "timed out after 2 s" in answer.stderr
    assert "t-worker-2" in answer.stderr
    cluster("cluster", "verify", "t")
