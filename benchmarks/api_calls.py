"""Every call that `cm` makes to a cloud, written down by the session that all its clients share.

`python -m benchmarks.api_calls WORDS...` is `cm WORDS...`; it writes its calls to the file that `CM_API_CALLS` names.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

FILE = "CM_API_CALLS"


@dataclass(frozen=True)
class Call:
    """A call: when, in seconds since the epoch, and what for."""

    at: float
    method: str
    path: str
    asked: str

    @property
    def makes_stack(self) -> bool:
        """Whether the wait begins with it: from here on Heat works, and `cm` looks on."""
        return self.method in ("POST", "PATCH") and "/stacks" in self.path

    @property
    def of_events(self) -> bool:
        """Whether it asks for what is new of the stack."""
        return self.path.endswith("/events")

    @property
    def of_console(self) -> bool:
        """Whether it reads a server's console."""
        return "os-getConsoleOutput" in self.asked


@contextmanager
def recorded(record: Callable[[Call], None]) -> Iterator[None]:
    """Have every call of this process to a cloud told to a function."""
    from cloudmesh_cluster.providers.openstack.patience import PatientSession

    request = PatientSession.request

    def counting(session: PatientSession, url: str, method: str, **keywords: Any) -> Any:
        # The key of a server's action says which it is; nothing else of what is sent is kept.
        asked = next(iter(keywords.get("json") or ()), "")
        record(Call(time.time(), method.upper(), urlsplit(url).path, str(asked)))
        return request(session, url, method, **keywords)

    with mock.patch.object(PatientSession, "request", counting):
        yield


def read(file: Path) -> list[Call]:
    """Return the calls that a process has written down."""
    return [Call(*json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def main() -> int:
    """Be `cm`, and write down its calls."""
    from cloudmesh_cluster.cli.main import main as cm

    with Path(os.environ.get(FILE, os.devnull)).open("a", encoding="utf-8") as file:

        def write(call: Call) -> None:
            file.write(json.dumps([call.at, call.method, call.path, call.asked]) + "\n")

        with recorded(write):
            return cm(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
