"""How OpenStack's services ask this machine for nodes: by a program with an unpatched Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).resolve().parent.parent / "nodes.py"


class HostError(Exception):
    """This machine could not do it; the message says why."""


def ask(verb: str, **request: Any) -> dict[str, Any]:
    """Return the answer to a request (see `devcloud.nodes`).

    Raises:
        HostError: it failed.

    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", _PROGRAM, verb],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = dict(json.loads(done.stdout))
    except ValueError as error:
        raise HostError(f"{verb}: {done.stderr.strip()[-2000:]}") from error
    if "error" in answer:
        raise HostError(answer["error"])
    return answer
