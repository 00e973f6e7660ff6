"""What differs between two listings of a machine's disk."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.support.machines import MAY_DIFFER


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what differs between two listings, by path, but for what may."""
    allowed = re.compile("|".join(MAY_DIFFER))
    return {
        path: (before.get(path, "absent"), after.get(path, "absent"))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path) and not allowed.fullmatch(path)
    }
