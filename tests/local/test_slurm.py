"""The plugin `slurm` on real nodes: what users do with it, and what becomes of it when nodes come, go and die."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import ROOT, CommandLine
from tests.support.crash import crash
from tests.support.pages import section, typed_lines

PATIENCE = 120.0
KEY = "/etc/munge/munge.key"
PRIMES = """\
import os, socket
part, parts = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
print(socket.gethostname(), sum(all(n % d for d in range(2, n)) for n in range(2 + part, 500, parts)))
"""
HELLO = """\
import socket
from mpi4py.MPI import COMM_WORLD as world
print(f"{world.rank} of {world.size} on {socket.gethostname()}: {world.allreduce(world.rank)}")
"""


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a verified Slurm cluster `s` of two workers."""
    shared_cm("cluster", "create", "s", "-p", "slurm", "--provider", "local", timeout=900)
    yield shared_cm
    shared_cm("cluster", "delete", "s", "-y")


def on(cluster: CommandLine, node: str, line: str) -> str:
    """Return what a shell line prints on a node."""
    (row,) = json.loads(cluster("cluster", "cmd", "s", "-t", node, "-f", "json", "--", line).stdout)
    return str(row["stdout"])


def states(cluster: CommandLine) -> dict[str, str]:
    """Return the state of each node as Slurm has it."""
    return dict(line.split() for line in on(cluster, "master", "sinfo -h -N -o '%N %T'").splitlines())


def test_the_login_user_runs_jobs_from_any_node(cluster: CommandLine) -> None:
    """A Python job on all nodes: each has its part, and the parts make the whole."""
    said = on(cluster, "worker-1", f"srun -N2 --ntasks-per-node=1 python3 -c {shlex.quote(PRIMES)}")
    lines = [line.split() for line in said.splitlines()]
    assert sorted(host for host, _ in lines) == ["s-worker-1", "s-worker-2"]
    assert sum(int(number) for _, number in lines) == 95  # primes below 500


def test_nodes_have_the_sizes_of_the_profile(cluster: CommandLine) -> None:
    """Though a local node sees the memory of the whole machine."""
    said = on(cluster, "master", "scontrol show node s-worker-1")
    assert "CPUTot=1 " in said
    assert "RealMemory=832 " in said
    assert on(cluster, "master", "srun --mem=2000 true 2>&1 || true").count("Requested node configuration") == 1


def test_a_job_that_takes_more_memory_than_it_asked_for_is_ended(cluster: CommandLine) -> None:
    """Others on its node asked for theirs, too; one that keeps to what it asked for ends by itself."""
    program = "import time; held = bytearray({} << 20); time.sleep(30 if len(held) >> 28 else 5)"
    much, little = (shlex.quote(program.format(size)) for size in (300, 20))

    assert "exceeded memory limit" in on(cluster, "master", f"srun --mem=100 python3 -c {much} 2>&1 || true")
    assert "" == on(cluster, "master", f"srun --mem=100 python3 -c {little} 2>&1")


def test_the_key_of_munge_is_the_clusters_own(cluster: CommandLine) -> None:
    """The same on all nodes, readable for munge only, neither in a log nor in an argument."""
    answer = cluster("cluster", "cmd", "s", "-f", "json", "--", f"sudo stat -c '%a %U' {KEY}; sudo cat {KEY}")
    (said,) = {row["stdout"] for row in json.loads(answer.stdout)}
    mode, key = said.splitlines()
    assert mode == "400 munge"
    # Everything of the client's but the one file that holds it; `engine` is the nodes' disks.
    files = [path for path in cluster.home.rglob("*") if path.is_file() and "engine" not in path.parts]
    assert [path.name for path in files if key.encode() in path.read_bytes()] == ["munge.key"]


def test_daemons_listen_on_private_addresses_only(cluster: CommandLine) -> None:
    """The controller and slurmd."""
    for node in ("master", "worker-1"):
        listening = on(cluster, node, "sudo ss -Hltnp | grep slurm | awk '{print $4}'").split()
        assert listening
        assert all(address.startswith("10.") for address in listening), listening


def test_a_dead_worker_is_down_its_job_runs_again_and_a_new_one_comes(cluster: CommandLine) -> None:
    """`status` says so; the job that it ran is done by the one that is left; `replace` restores it."""
    job = on(cluster, "master", "sbatch --parsable -w s-worker-2 -o /dev/null --wrap 'sleep 3600'").strip()
    again = on(cluster, "master", "sbatch --parsable -o /dev/null --wrap 'sleep 1'").strip()
    crash(cluster, "s", "s-worker-2")
    began = time.monotonic()
    rows = json.loads(cluster("cluster", "status", "s", "-f", "json", expect=3).stdout)
    assert {row["node"] for row in rows if not row["ok"]} == {"s-worker-2"}
    while states(cluster)["s-worker-2"] not in ("down", "down*"):
        assert time.monotonic() - began < PATIENCE
    assert states(cluster)["s-worker-1"] in ("idle", "mixed", "allocated")
    state = f"scontrol show job {again} | grep -o 'JobState=[A-Z]*'"
    while on(cluster, "master", state).strip() != "JobState=COMPLETED":
        assert time.monotonic() - began < PATIENCE
    on(cluster, "master", f"scancel {job}")

    cluster("cluster", "replace", "s", "worker-2", timeout=600)
    assert states(cluster) == {"s-worker-1": "idle", "s-worker-2": "idle"}


def test_a_leaving_worker_ends_its_jobs_first(cluster: CommandLine) -> None:
    """The one that comes is used; the one that goes is drained, and unknown afterwards."""
    cluster("cluster", "scale", "s", "+1", timeout=600)
    on(cluster, "master", "sbatch -w s-worker-3 -o /tmp/done --wrap 'sleep 4'")
    cluster("cluster", "scale", "s", "-1", timeout=600)
    assert set(states(cluster)) == {"s-worker-1", "s-worker-2"}
    assert "COMPLETED" in on(cluster, "master", "scontrol show jobs")


def test_an_mpi_job_of_all_nodes(cluster: CommandLine, tmp_path: Path) -> None:
    """The lines of docs/plugins.md: each node has a rank, and all know what they are together."""
    (tmp_path / "hello.py").write_text(HELLO)
    lines = typed_lines(section(ROOT / "docs" / "plugins.md", "Built in: slurm"))
    answers = [
        cluster(*("s" if word == "slurm" else word for word in shlex.split(line)[1:]), cwd=tmp_path, timeout=600)
        for line in lines
        if "create" not in line
    ]
    assert sorted(answers[0].stdout.split()) == ["s-worker-1", "s-worker-2"]
    assert sorted(answers[-1].stdout.splitlines()) == ["0 of 2 on s-worker-1: 1", "1 of 2 on s-worker-2: 1"]


def test_uninstall_takes_everything_back(cluster: CommandLine) -> None:
    """No process, configuration, key or service of it is left."""
    cluster("cluster", "uninstall", "s", "slurm", timeout=300)
    files = f"{KEY} /etc/slurm/slurm.conf /var/lib/slurm/ctld /var/lib/cm/services/*"
    for node in ("master", "worker-1"):
        assert on(cluster, node, f"(sudo ls -d {files}; pgrep -x 'munged|slurmctld|slurmd') 2>/dev/null || true") == ""
