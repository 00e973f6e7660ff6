"""Four machines to learn with, lab-1 to lab-4, for tutorials about bare metal; `make lab` keeps them running."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.providers.local.engine import images
from cloudmesh_cluster.providers.local.engine.ids import ids_of_this_user
from tests.support.conda_channel import make_channel
from tests.support.machines import Machines, machines

KNOWN, NEW = (1, 2, 3), 4
SAYS = """\
lab: four machines run: lab-1 ... lab-4, user admin, all else is in {folder}
     log in: ssh -F {folder}/ssh_config lab-1
     Ctrl-C ends them
"""


@contextmanager
def lab(folder: Path, cache: Path) -> Iterator[Machines]:
    """Yield four machines that run, with what their user needs in a folder; it goes with them.

    There are `ssh_config`, the key `key`, and `channel`, a conda channel. The last machine is new: nobody has its host
    key yet, but its console is in `console-of-lab-4`.

    Args:
        folder: is made; a short path, since unix sockets lie below it.
        cache: CM_CACHE.

    """
    folder.mkdir(parents=True)
    try:
        make_channel(folder / "channel")
        layers = images.ensure_base(cache, ids=ids_of_this_user())
        with machines(folder, cache / "images", layers, [*KNOWN, NEW], prefix="lab-") as made:
            made.introduce(KNOWN)
            (folder / f"console-of-lab-{NEW}").write_text(made.nodes.console(NEW))
            yield made
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Run the machines until Ctrl-C or SIGTERM."""
    home = Home.from_environment(os.environ)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), lab(home.root / "lab", home.cache) as made:
        sys.stdout.write(SAYS.format(folder=made.nodes.folder))
        sys.stdout.flush()
        signal.pause()
    sys.stdout.write("lab: the machines are gone\n")


if __name__ == "__main__":
    main()
