"""What a page of the documentation shows: lines to type, files to write."""

from __future__ import annotations

import re
from pathlib import Path

_CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```\w+\n# file: (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def typed_lines(text: str) -> list[str]:
    """Return the lines that the console blocks of a page tell the reader to type, without the `$`."""
    lines = [line for block in _CONSOLE.findall(text) for line in block.splitlines()]
    return [line.removeprefix("$ ").strip() for line in lines if line.startswith("$ ")]


def section(page: Path, heading: str) -> str:
    """Return what stands below the heading of second order that begins with `heading`."""
    parts = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [found] = [part for part in parts if part.startswith(heading)]
    return found


def shown_files(page: Path) -> dict[str, str]:
    """Return the files that a page shows, each in a block that begins with `# file: NAME`."""
    return dict(_FILE.findall(page.read_text(encoding="utf-8")))
