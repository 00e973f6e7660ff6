"""Runs the tutorials in `notebooks/` in kernels of their own; `make notebooks` saves what they answer."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cloudmesh_cluster.core.home import Home
from tests.conftest import delete_clusters
from tests.support.command_line import ROOT, SYSTEM_PATH, CommandLine
from tests.support.lab import lab

NOTEBOOKS = ROOT / "notebooks"
CELL_TIMEOUT = 600
MOMENT = "2026-01-01"
# What differs from run to run and says nothing, and what belongs to the machine it ran on.
NORMAL = (
    (re.compile(r"\b\d{8}T\d{6}-([a-z]+)-[0-9a-f]{4}\b"), r"20260101T120000-\1-1a2b"),
    (re.compile(r"\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d+)?(\+00:00)?"), MOMENT + r"\g<1>12:00:00"),
    (re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b"), r"\1..."),
)


def executed(path: Path, environ: Mapping[str, str]) -> Any:
    """Run a notebook in a new kernel and return it with its outputs.

    Args:
        path: the notebook.
        environ: the whole environment of the kernel.

    Raises:
        CellExecutionError: a cell failed that is not meant to.

    """
    with all_but_the_last_cell(path, environ) as (notebook, finish):
        finish()
    return notebook


@contextmanager
def all_but_the_last_cell(path: Path, environ: Mapping[str, str]) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Run a notebook in a new kernel up to its last cell, and yield it with what runs that one.

    Meanwhile others can use what the notebook has made and the last cell deletes.

    Raises:
        CellExecutionError: a cell failed that is not meant to.
        AssertionError: the kernel ended; says how.

    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    *first, last = enumerate(notebook.cells)

    def run(place: int, cell: Any) -> None:
        try:
            client.execute_cell(cell, place)
        except DeadKernelError as error:
            ended = client.km.provisioner.process.poll()
            said.seek(0)
            raise AssertionError(f"cell {place}: the kernel ended with {ended} and said: {said.read()}") from error

    with tempfile.TemporaryFile("w+") as said, client.setup_kernel(env=dict(environ), stderr=said):
        for place, cell in first:
            run(place, cell)
        yield notebook, lambda: run(*last)


def assert_as_committed(path: Path, notebook: Any) -> None:
    """Fail unless a notebook that ran answers where the committed one does, and fails only where it is meant to."""
    import nbformat

    assert _answered(notebook) == _answered(nbformat.read(path, as_version=4))
    for cell in notebook.cells:
        meant = "raises-exception" in cell.metadata.get("tags", ())
        assert meant == any(output.output_type == "error" for output in cell.get("outputs", ()))


def _answered(notebook: Any) -> list[bool]:
    return [len(cell.outputs) > 0 for cell in notebook.cells if cell.cell_type == "code"]


def normal(notebook: Any, environ: Mapping[str, str]) -> Any:
    """Take out of a notebook what belongs to this run and this machine alone, and return it."""
    paths = ((environ["CM_HOME"], "~/.cloudmesh"), (str(ROOT), "cloudmesh"), (tempfile.gettempdir(), "/tmp"))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            for holder, key in _texts(output):
                holder[key] = _normal(holder[key], paths)
    return notebook


def _texts(output: Any) -> Iterator[tuple[Any, Any]]:
    if output.output_type == "stream":
        yield output, "text"
    for mime in output.get("data", ()):
        if isinstance(output["data"][mime], str):
            yield output["data"], mime
    for place in range(len(output.get("traceback", ()))):
        yield output["traceback"], place
    if "evalue" in output:
        yield output, "evalue"


def _normal(text: str, paths: tuple[tuple[str, str], ...]) -> str:
    for path, name in paths:
        text = text.replace(path, name)
    text = re.sub(r"/tmp/tmp\w+", "/tmp/work", text)
    for pattern, replacement in NORMAL:
        text = pattern.sub(replacement, text)
    return text


@contextmanager
def environment_for(path: Path, cache: Path, **more: str) -> Iterator[dict[str, str]]:
    """Yield the environment of a kernel for a notebook, with what it says is there: a lab, for one."""
    with kernel_environment(cache, **more) as environ:
        if "lab" not in path.stem:
            yield environ
            return
        home = Path(environ["CM_HOME"])
        with lab(home / "lab", cache) as made:
            try:
                yield {**environ, "LAB": str(made.nodes.folder)}
            finally:  # while the machines are there
                delete_clusters(CommandLine(home, cache))


@contextmanager
def kernel_environment(cache: Path, **more: str) -> Iterator[dict[str, str]]:
    """Yield the environment of a kernel: a home of its own, and `cm` on its path; its clusters go with it."""
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    cm = CommandLine(home, cache)
    path = f"{Path(sys.executable).parent}:{SYSTEM_PATH}"
    jupyter = {"JUPYTER_RUNTIME_DIR": str(home / "kernel"), "IPYTHONDIR": str(home / "ipython")}
    try:
        yield {**cm.environment(), "PATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1", **jupyter, **more}
    finally:
        delete_clusters(cm)
        shutil.rmtree(home)


def main(names: list[str]) -> None:
    """Run all notebooks, or those whose names begin with the words given, and save them with their outputs."""
    import nbformat

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if names and not path.name.startswith(tuple(names)):
            continue
        sys.stdout.write(f"notebooks: {path.name}\n")
        passed_on = {name: os.environ[name] for name in ("OS_CLOUD",) if name in os.environ}
        with environment_for(path, Home.from_environment(os.environ).cache, **passed_on) as environ:
            notebook = normal(executed(path, environ), environ)
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
