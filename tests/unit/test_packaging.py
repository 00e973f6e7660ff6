"""The package carries its node-side files however it is installed."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("cloudmesh_cluster", "scripts", "heat_templates", "setup.py", "pyproject.toml", "MANIFEST.in")
TEXTS = ("README.md", "LICENSE")
LIST_RESOURCES = """
import json, stat
from cloudmesh_cluster.core.resources import resource
found = {}
for folder in ("scripts", "heat_templates"):
    top = resource(folder)
    for path in top.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            found[f"{folder}/{path.relative_to(top)}"] = [path.read_bytes().hex(), executable]
print(json.dumps(found))
"""


def run(*words: str | Path, cwd: Path) -> str:
    """Run a program and return what it printed; a failure shows everything it said."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*words: str | Path, cwd: Path) -> str:
    """Run pip with what is installed here: no index is asked."""
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words, cwd=cwd)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the source tree, with one executable and one plain file of known content added."""
    copy = tmp_path_factory.mktemp("source") / "tree"
    copy.mkdir()
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "_data"))
        else:
            shutil.copy2(source, copy / name)
    for name in TEXTS:
        shutil.copy2(ROOT / name, copy / name)
    folder = copy / "scripts" / "packaged"
    folder.mkdir()
    (folder / "plain").write_bytes(b"\x00\xffbytes\n")
    (folder / "run").write_text("#!/bin/sh\necho packaged\n")
    (folder / "run").chmod(0o755)
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel built from a source distribution: what an index would hand out."""
    work = tmp_path_factory.mktemp("built")
    build = "from setuptools import build_meta as b; import sys; print(b.build_sdist(sys.argv[1]))"
    sdist = run(sys.executable, "-c", build, work, cwd=tree).splitlines()[-1]
    shutil.unpack_archive(work / sdist, work / "unpacked")
    [unpacked] = (work / "unpacked").iterdir()
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", work, unpacked, cwd=work)
    [built] = work.glob("*.whl")
    return built


def fresh_environment(folder: Path) -> Path:
    """Make an environment that sees the dependencies installed here, but not this project; return its Python."""
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def resources_seen_by(python: Path, cwd: Path) -> dict[str, tuple[bytes, bool]]:
    """Return what an installed package finds below scripts/ and heat_templates/: content, executable."""
    found = json.loads(run(python, "-I", "-c", LIST_RESOURCES, cwd=cwd))
    return {name: (bytes.fromhex(content), executable) for name, (content, executable) in found.items()}


def resources_of_tree(tree: Path) -> dict[str, tuple[bytes, bool]]:
    """Return what the source tree holds below scripts/ and heat_templates/."""
    return {
        str(path.relative_to(tree)): (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
        for folder in ("scripts", "heat_templates")
        for path in (tree / folder).rglob("*")
        if path.is_file()
    }


def test_wheel_carries_node_side_files(tree: Path, wheel: Path, tmp_path: Path) -> None:
    """A wheel built from the sdist, installed elsewhere, has every node-side file with content and mode."""
    python = fresh_environment(tmp_path / "env")
    pip("--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)

    seen = resources_seen_by(python, cwd=tmp_path)

    assert seen["scripts/packaged/run"] == (b"#!/bin/sh\necho packaged\n", True)
    assert seen["scripts/packaged/plain"] == (b"\x00\xffbytes\n", False)
    assert seen == resources_of_tree(tree)
    version = run(tmp_path / "env" / "bin" / "cm", "--version", cwd=tmp_path)
    assert "0.1.0" in version


def test_editable_install_reads_the_tree(tree: Path, tmp_path: Path) -> None:
    """An editable install reads the node-side files from the source tree, changes included."""
    python = fresh_environment(tmp_path / "env")
    pip("--python", python, "install", "--no-deps", "--no-index", "--no-build-isolation", "-e", tree, cwd=tmp_path)
    added = tree / "scripts" / "packaged" / "later"
    added.write_text("written after the installation\n")

    seen = resources_seen_by(python, cwd=tmp_path)

    assert seen["scripts/packaged/later"] == (b"written after the installation\n", False)
    assert seen == resources_of_tree(tree)
    assert not (tree / "cloudmesh_cluster" / "_data").exists()
    added.unlink()


def test_wheel_holds_all_of_the_package_and_nothing_else(tree: Path, wheel: Path) -> None:
    """Every file of the package travels; tests, set-up and caches stay at home."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    package = {
        str(path.relative_to(tree))
        for path in (tree / "cloudmesh_cluster").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    data = {f"cloudmesh_cluster/_data/{name}" for name in resources_of_tree(tree)}

    assert package | data == set(names)


def test_old_build_does_not_leak(tree: Path, tmp_path: Path) -> None:
    """A node-side file that was deleted is not shipped from an earlier build of the same tree."""
    gone = tree / "scripts" / "packaged" / "gone"
    gone.write_text("old\n")
    for expected in (True, False):
        run(sys.executable, "setup.py", "-q", "build_py", "--build-lib", tmp_path, cwd=tree)
        assert (tmp_path / "cloudmesh_cluster/_data/scripts/packaged/gone").exists() is expected
        gone.unlink(missing_ok=True)
