"""The tutorials in `notebooks/` run as they are, on real clusters, and are committed with clean outputs."""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path

import nbformat
import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.state.store import State
from tests.support.conda_channel import require_tools
from tests.support.notebooks import NOTEBOOKS, assert_as_committed, environment_for, executed

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
HERE = [path for path in ALL if "openstack" not in path.name and "word-count" not in path.name]
"""Those that run here; test_hadoop.py runs the one whose cluster it uses, and tests/openstack that of a cloud."""
OF_A_MACHINE = (r"/root\b", r"/home/\w", r"/tmp/cm-", r"BEGIN [A-Z ]*PRIVATE KEY", r"ssh-ed25519 A")


@pytest.mark.parametrize("path", HERE, ids=lambda path: str(path.stem))
def test_notebook_runs(path: Path, cm_cache: Path) -> None:
    """Every cell that is not meant to fail succeeds and answers as when it was committed; nothing is left."""
    if "lab" in path.stem:
        require_tools()
    with environment_for(path, cm_cache) as environ:
        notebook = executed(path, environ)
        with State(Home(Path(environ["CM_HOME"]), cm_cache)) as state:
            assert state.cluster_names() == []

    assert_as_committed(path, notebook)


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.stem))
def test_notebook_is_committed_clean(path: Path) -> None:
    """The committed notebook was run from top to bottom and holds nothing of the machine it was run on."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert [pattern for pattern in OF_A_MACHINE if re.search(pattern, text)] == []
    assert not re.search(rf"\b({re.escape(socket.gethostname())})\b", text)
    assert getpass.getuser() in ("root", "user") or getpass.getuser() not in text
    nbformat.validate(notebook)
