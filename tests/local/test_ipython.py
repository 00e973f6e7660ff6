"""`cm` in a real IPython: as an alias, as magics that return data, and in a kernel as notebooks have it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.notebooks import kernel_environment


@pytest.fixture(scope="module")
def environ(cm_cache: Path) -> Iterator[dict[str, str]]:
    """Return the environment of an IPython with a home of its own, and a cluster `t` of one worker in it."""
    with kernel_environment(cm_cache) as made:
        create = "%cm cluster create t --provider local -n 1"
        said = ipython(made, "%load_ext cloudmesh_cluster", create, "print(_.state)")
        assert said[-1].endswith("ready")
        yield made


def ipython(environ: dict[str, str], *lines: str) -> list[str]:
    """Type lines into an IPython on a pipe; return what it printed, a line each."""
    words = [sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor", "--no-confirm-exit"]
    done = subprocess.run(
        words, input="\n".join(lines) + "\n", env=environ, text=True, capture_output=True, timeout=300, check=True
    )
    return [line.rstrip() for line in done.stdout.splitlines() if line.rstrip() and not line.rstrip().endswith("]:")]


def has(said: Sequence[str], wanted: str) -> bool:
    """Return whether a line that was said holds some words."""
    return any(wanted in line for line in said)


@pytest.mark.parametrize("alias", ["alias cm cm %s", "%alias cm cm %l"])
def test_alias_of_the_first_page(environ: dict[str, str], alias: str) -> None:
    """The line of Cloudmesh's own page makes `cm` a command of IPython."""
    said = ipython(environ, alias, "cm cluster list -f value -c name -c state")

    assert has(said, "t ready")


def test_magic_returns_data(environ: dict[str, str]) -> None:
    """Rows come as rows, a record as a mapping, text as asked, and Python's variables go into the line."""
    said = ipython(
        environ, "%load_ext cloudmesh_cluster",
        "rows = %cm cluster nodes t", "print([row['name'] for row in rows])",
        "name = 't'", "record = %cm cluster show {name}", "print(record['state'], record['nodes'])",
        "%cm cluster cmd t hostname", "%cm cluster list -f value -c name",
    )  # fmt: skip

    assert has(said, "['t-master', 't-worker-1']")
    assert has(said, "ready 2")
    assert has(said, "worker-1: t-worker-1")
    assert said[-1].endswith("t")


def test_errors_are_those_of_the_shell_and_typed(environ: dict[str, str]) -> None:
    """An error is told as `cm` tells it, without a traceback; `except` gets its type; --debug shows the traceback."""
    said = ipython(environ, "%load_ext cloudmesh_cluster", "%cm cluster shw t", "%cm cluster show nosuch")
    assert has(said, "did you mean 'show'?")
    assert has(said, "no cluster named 'nosuch'")
    assert not has(said, "Traceback")
    assert has(ipython(environ, "%load_ext cloudmesh_cluster", "%cm --debug cluster show nosuch"), "Traceback")
    caught = "import cloudmesh_cluster.errors as e\ntry:\n    get_ipython().run_line_magic('cm', 'cluster show no')"
    assert has(ipython(environ, "%load_ext cloudmesh_cluster", f"{caught}\nexcept e.NotFound as x: print(x.known)\n"),
               "('t',)")  # fmt: skip


def test_completion_knows_commands_and_clusters(environ: dict[str, str]) -> None:
    """Tab completes what the shell would, after `%cm` and in cells."""
    said = ipython(
        environ, "%load_ext cloudmesh_cluster", "ip = get_ipython()",
        "def tab(word, line): return ip.complete(word, line, len(line))[1]\n",
        "print('A', tab('sc', '%cm cluster sc'))",
        "print('B', tab('', '%cm cluster show '))",
        "print('C', tab('worker', '%%cm cluster cmd t -t worker'))",
    )  # fmt: skip

    assert has(said, "A ['scale', 'scripts']")
    assert has(said, "B ['t']")
    assert has(said, "'worker-1'")


CELLS = (
    "%load_ext cloudmesh_cluster",
    "%%cm cluster write t worker --expect second\necho first\necho second",
    "%%cm\ncluster cmd t -t worker hostname\ncluster scripts t -f value -c name",
    "from cloudmesh_cluster import Cluster\nCluster.open('t').scale('+1')",
    "%cm cluster cmd t -t master false",
)


def test_notebook_cells(environ: dict[str, str]) -> None:
    """In a kernel a cell is a script, progress folds into a line, a cluster is a picture, a failure stops the run."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    with pytest.raises(CellExecutionError, match="exit 1"):
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute(env=environ)
    outputs = [cell.outputs for cell in notebook.cells]

    folded, rows = outputs[1]
    assert folded.data["text/html"].startswith("<details>")
    assert "t-worker-1 | second" in folded.data["text/html"]
    assert "t-worker-1" in rows.data["text/html"]
    assert "t-worker-1" in "".join(str(output) for output in outputs[2])
    assert "<svg" in outputs[3][-1].data["text/html"]
    assert outputs[4][-1].ename == "LineFailed"
    assert not any("Traceback" in line for line in outputs[4][-1].traceback)


def test_the_extension_can_be_unloaded(environ: dict[str, str]) -> None:
    """%unload_ext takes the magics back, and can be followed by %load_ext."""
    known = "print('cm' in get_ipython().magics_manager.magics['line'])"
    said = ipython(environ, "%load_ext cloudmesh_cluster", known, "%unload_ext cloudmesh_cluster", known,
                   "%load_ext cloudmesh_cluster", "%cm cluster list -f value -c name")  # fmt: skip

    assert [line.split()[-1] for line in said] == ["True", "False", "t"]
