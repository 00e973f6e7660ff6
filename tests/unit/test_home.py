"""The folders of `cm`: nobody but their owner can change what is in them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home

MAKE = """
import os, sys
from pathlib import Path
from cloudmesh_cluster.core.home import Home
os.umask(0)
Home(Path(sys.argv[1]), Path(sys.argv[2])).make()
"""


def test_an_open_umask_opens_nothing(tmp_path: Path) -> None:
    """Whatever the umask: the folders are their owner's, and those above that had to be made are closed to writers."""
    root, cache = tmp_path / "above" / "home", tmp_path / "beside" / "more" / "cache"
    subprocess.run([sys.executable, "-c", MAKE, root, cache], check=True)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert {0o700} == {mode for path, mode in modes.items() if path in (root, cache) or root in path.parents}
    assert {0o755} == {modes[path] for path in (root.parent, cache.parent, cache.parent.parent)}


@pytest.mark.parametrize("which", ["home", "cache"])
@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_refused(tmp_path: Path, which: str, mode: int) -> None:
    """A CM_HOME or CM_CACHE that others may write is refused, with the command that mends it."""
    (tmp_path / which).mkdir()
    (tmp_path / which).chmod(mode)

    with pytest.raises(UsageError, match="others can write into") as raised:
        Home(tmp_path / "home", tmp_path / "cache").make()

    assert f"chmod go-w {tmp_path / which}" == raised.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
@pytest.mark.parametrize("which", ["home", "cache"])
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, which: str) -> None:
    """Root does not work in a folder of an ordinary user, who could put links there."""
    (tmp_path / which).mkdir(mode=0o700)
    os.chown(tmp_path / which, 65534, 65534)

    with pytest.raises(UsageError, match="belongs to the user with the id 65534"):
        Home(tmp_path / "home", tmp_path / "cache").make()
