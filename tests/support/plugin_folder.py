"""Plugins of a test's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_plugin(home: Path, name: str, files: Mapping[str, str]) -> None:
    """Write the folder of a plugin into CM_HOME, each file executable."""
    folder = home / "plugins" / name
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_text(content)
        (folder / file).chmod(0o755)
