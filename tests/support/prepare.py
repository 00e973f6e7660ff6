"""Make what tests of several lanes need, before they start: payloads of plugins, the node image, devclouds.

A failure here stops nothing: the tests that need what is missing say so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.devcloud_clients import PROGRAM

CM = (sys.executable, "-m", "cloudmesh_cluster")
PLUGINS = ("dask", "hadoop", "ipyparallel", "notebook", "spark", "zookeeper")
"""Those that bring what Debian has not."""
CLOUDS = (("engine", 0), ("fake", 0))
"""Driver and number of each devcloud that tests share."""


def main() -> None:
    """Run everything side by side, and print how long it took."""
    began = time.monotonic()
    work: list[tuple[Sequence[str | Path], Mapping[str, str]]] = [
        ((*CM, "plugin", "fetch", plugin), {}) for plugin in PLUGINS
    ]
    if os.geteuid() == 0:
        work += [((PROGRAM, "up", "--driver", driver), {"DEVCLOUD_NUMBER": str(number)}) for driver, number in CLOUDS]
    with ThreadPoolExecutor(len(work)) as together:
        for words, more in work:
            together.submit(subprocess.run, words, env={**os.environ, **more}, stdin=subprocess.DEVNULL, check=False)
    print(f"prepared in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201 - it is a program


if __name__ == "__main__":
    main()
