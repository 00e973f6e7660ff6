"""Tests of what plugins fetch from PyPI, with the real pip and an index that is a folder."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import PluginUse
from cloudmesh_cluster.plugins.payloads import fetch
from cloudmesh_cluster.plugins.resolve import resolve

PLUGIN_YAML = """\
description: for tests
version: "1"
payload:
  kind: pip
  lock: requirements.txt
  python: "3.11"
  keep:
    - {from: '[^/]+/jars/unused.jar', to: ''}
    - {from: '[^/]+/(jars/.+)', to: '\\1'}
settings:
  source: {type: text, description: another source}
"""
SETUP = "from setuptools import setup\nsetup(name='big', version='2.0', packages=[])\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip takes for the only index, with a wheel and a source archive."""
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(folder / "tiny-1.0-py3-none-any.whl")
    with tarfile.open(folder / "big-2.0.tar.gz", "w:gz") as tar:
        for name, text in (("setup.py", SETUP), ("jars/a.jar", "a"), ("jars/unused.jar", "b"), ("README", "c")):
            member = tarfile.TarInfo(f"big-2.0/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # which means that there is none
    return folder


def write_wheel(path: Path) -> None:
    """Write a wheel with one module and a command."""
    files = {
        "tiny.py": b"ANSWER = 42\n",
        "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny-1.0.dist-info/entry_points.txt": b"[console_scripts]\ntiny = tiny:main\n",
    }
    lines = [f"{name},sha256={_record_digest(content)},{len(content)}" for name, content in files.items()]
    files["tiny-1.0.dist-info/RECORD"] = "\n".join([*lines, "tiny-1.0.dist-info/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)


def _record_digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def fetched(home: Home, index: Path, *, digest: str = "") -> tuple[Path, dict[str, bytes]]:
    """Fetch a plugin that wants both, and return its archive and the files in it."""
    folder = home.plugins / "pip-made"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plugin.yaml").write_text(PLUGIN_YAML)
    wanted = {"tiny==1.0": "tiny-1.0-py3-none-any.whl", "big==2.0": "big-2.0.tar.gz"}
    digests = {name: digest or hashlib.sha256((index / file).read_bytes()).hexdigest() for name, file in wanted.items()}
    lines = [f"{name} --hash=sha256:{each}\n" for name, each in digests.items()]
    (folder / "requirements.txt").write_text("".join(lines))
    (chosen,) = resolve([PluginUse("pip-made")], home)
    archive = fetch(chosen, home, lambda line: None)
    assert archive is not None
    with tarfile.open(archive) as tar:
        return archive, {member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a home with a cache of its own."""
    return Home(tmp_path / "home", tmp_path / "cache")


def test_wheels_become_packages_and_sources_follow_the_rules(home: Home, index: Path) -> None:
    """Commands are left out, since they name this machine's Python; setup.py and what no rule keeps are, too."""
    _, files = fetched(home, index)

    assert files["site-packages/tiny.py"] == b"ANSWER = 42\n"
    assert files["jars/a.jar"] == b"a"
    assert not [name for name in files if "bin/" in name or "unused" in name or "setup.py" in name]


def test_it_is_fetched_once(home: Home, index: Path) -> None:
    """A second cluster finds it in the cache, though the index is gone."""
    first, _ = fetched(home, index)
    made = first.stat().st_mtime_ns
    for file in index.iterdir():
        file.rename(file.with_suffix(".away"))
    (home.plugins / "pip-made" / "plugin.yaml").touch()
    (chosen,) = resolve([PluginUse("pip-made")], home)

    again = fetch(chosen, home, lambda line: None)
    assert again == first
    assert again.stat().st_mtime_ns == made


def test_two_machines_make_the_same_archive(home: Home, index: Path, tmp_path: Path) -> None:
    """Byte for byte, compiled modules too, so that digests of archives can be compared."""
    first, _ = fetched(home, index)
    second, _ = fetched(Home(tmp_path / "other", tmp_path / "other-cache"), index)

    assert first.read_bytes() == second.read_bytes()


def test_a_wrong_digest_is_refused_and_named(home: Home, index: Path) -> None:
    """Nothing of it gets into the cache."""
    with pytest.raises(UsageError) as caught:
        fetched(home, index, digest="0" * 64)

    assert "pip can't fetch pip-made" in caught.value.message
    assert "requirements.txt" in caught.value.hint
    assert not list((home.cache / "payloads").glob("*.tar"))


def test_without_a_package_index_the_way_of_bundles_is_shown(
    home: Home, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that reaches no index is told what it may have instead."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(home.root))
    with pytest.raises(UsageError) as caught:
        fetched(home, index)

    assert "cm bundle use FILE" in caught.value.hint
    assert "digests" not in caught.value.hint
