"""What a node has printed: its beginning, where its host keys are, and its end, however much a node writes."""

from __future__ import annotations

import os
from pathlib import Path

BEGINNING = 128 * 1024
END = 896 * 1024
"""How many bytes of a long console are read."""


def read_console(file: Path) -> str:
    """Return what is in a console's file, without the middle of a long one; a missing file is empty."""
    try:
        with file.open("rb") as console:
            size = os.fstat(console.fileno()).st_size
            text = console.read(BEGINNING)
            if (left_out := size - BEGINNING - END) > 0:
                text += f"\n[... {left_out} bytes are left out here ...]\n".encode()
                console.seek(size - END)
            return (text + console.read(END)).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
