"""The files that nodes and clouds need, wherever this package is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = _PACKAGE / "_data"


def resource(folder: Literal["scripts", "heat_templates"], *parts: str) -> Path:
    """Return the path of a file or folder below `scripts/` or `heat_templates/`; it need not exist.

    An installed package carries both folders in its own `_data`; a source tree and an editable install
    have them beside the package.
    """
    root = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
    return root.joinpath(folder, *parts)
