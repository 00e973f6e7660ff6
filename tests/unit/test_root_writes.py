"""The check in `make lint` that root works in no folder of somebody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudmesh_cluster.core.resources import resource
from tests.support.root_writes import problems

SCRIPT = """\
#!/bin/bash
data=/var/lib/redis
logs="/var/log/redis"
make_user redis "$data"
install -d -m 755 -o redis -g redis "$logs"
install -d -m 755 -o root /etc/redis
{line}
"""


def check(folder: Path, line: str, name: str = "redis") -> list[str]:
    """Return what is found in a plugin with that line."""
    plugin = folder / name
    plugin.mkdir()
    (plugin / "all.sh").write_text(SCRIPT.replace("{line}", line))
    return problems(plugin)


@pytest.mark.parametrize(
    "line",
    [
        'install -d -m 1777 "$data/warehouse"',
        'install -d -o redis -g redis "$data" "$data/conf"',
        'if true; then mkdir -p "${data}/conf"; fi',
        'echo x | write_file "$data/myid" 644 redis:redis',
        'echo x >"$data/replication"',
        "true && : >> $data/replication",
        '[[ -e $data/n && $(<"$data/n") == 1 ]]',
        'tail -n 30 "$logs/$1.log" >&2',
        "chmod 644 \\\n    $data/conf",
        'chown -R redis "$data/conf"',
        "timeout 5 cat /var/lib/redis/secret",
        'rm -rf "$data/a/b"',
        "for each in 1 2; do touch $data/$each; done",
        'as redis cat x >"$data/x"',
        "cp x /home/somebody/.bashrc",
    ],
)
def test_root_in_the_folder_of_a_service_is_refused(tmp_path: Path, line: str) -> None:
    """Whatever root makes, changes or reads below a folder that was given to a user is found, with its line."""
    [problem] = check(tmp_path, line)

    assert problem.startswith(f"{tmp_path}/redis/all.sh:7: root touches /")


@pytest.mark.parametrize(
    "line",
    [
        'folders_as redis 750 "$data/conf"',
        'echo x | write_as redis "$data/myid" 644',
        'as redis tail -n 30 "$logs/$1.log"',
        'rm -rf "$data" "$logs"',
        'rm -f "$data/file"',
        'chmod 755 "$data"',
        'echo "$data/x" >/etc/redis/conf',
        "[[ -e $data/joined ]]",
        '# cat "$data/x"',
        "cat <<END\ncat $data/x\nEND",
    ],
)
def test_what_harms_nobody_is_let_pass(tmp_path: Path, line: str) -> None:
    """The user's rights, root's own folders, the folder itself, and texts are no problem."""
    assert check(tmp_path, line) == []


def test_boot_scripts_touch_homes_with_their_owners_rights(tmp_path: Path) -> None:
    """In boot scripts, what lies in `$home` is touched by `as_user` only; `$HOME` is that of who works there."""
    assert len(check(tmp_path, 'chown x "$home/.ssh"; as_user x cat "$home/y"; cat "$HOME/z"', "boot")) == 1


def test_all_scripts_are_clean() -> None:
    """No plugin and no boot script of ours has such a line."""
    folders = [folder for folder in Path(str(resource("scripts"))).iterdir() if folder.is_dir()]

    assert [] == [problem for folder in folders for problem in problems(folder)]
