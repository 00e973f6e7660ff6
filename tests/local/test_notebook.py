"""The plugin `notebook` on real nodes: JupyterLab for who has the token, and nobody else."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.command_line import CommandLine

PORT = 8899
TOKEN = "/etc/jupyterlab/token"
CHECK = (
    "sudo env CM_MASTER_IP=10.88.0.10 /opt/jupyterlab/bin/python /usr/local/lib/cm/plugins/notebook/checks/computes.py"
)
PATIENCE = 60.0


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a verified cluster `n` of one worker, whose JupyterLab has a port of its own."""
    words = ("cluster", "create", "n", "-p", "notebook", "--provider", "local", "-n", "1")
    shared_cm(*words, "--set", f"notebook.port={PORT}", timeout=900)
    yield shared_cm
    shared_cm("cluster", "delete", "n", "-y")


def on(cluster: CommandLine, node: str, *words: str) -> str:
    """Return what a command prints on a node."""
    (row,) = json.loads(cluster("cluster", "cmd", "n", "-t", node, "-f", "json", "--", *words).stdout)
    return str(row["stdout"])


@contextmanager
def opened(cluster: CommandLine) -> Iterator[str]:
    """Run `cm cluster open`, and give the address that it prints."""
    argv = cluster.argv("cluster", "open", "n", "notebook", "--no-browser", "-f", "json")
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=cluster.environment()
    ) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("]\n"):
            line = process.stdout.readline()
            assert line, f"it ended with {process.wait()} after {text!r}"
            text += line
        (row,) = json.loads(text)
        yield row["address"]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def answer(address: str) -> tuple[int, str]:
    """Return the status and the body that an address answers."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as found:  # noqa: S310  (what cm printed)
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_it_is_private_and_its_token_is_seen_nowhere(cluster: CommandLine) -> None:
    """One port, on the private address, a user of its own; the token in no process, log or file for others."""
    listening = on(cluster, "master", "sudo ss -Hltnp | grep python | awk '{print $4}'").split()
    assert listening == [f"10.88.0.10:{PORT}"]
    users = on(cluster, "master", "ps -C python -o user=,args= | grep '[j]upyterlab' | cut -d ' ' -f 1")
    assert users == "notebook\n"
    assert on(cluster, "master", f"sudo stat -c '%a %U' {TOKEN}") == "600 notebook\n"
    assert on(cluster, "master", f"sudo cat {TOKEN} | wc -c") == "129\n"
    # grep gets the token on its input, so that it is in no process that asks either.
    processes = "sh -c 'grep -laF -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null' || true"
    assert on(cluster, "master", f"sudo cat {TOKEN} | sudo {processes}") == ""
    logs = "grep -rlaF -f - /var/log || true"
    assert on(cluster, "master", f"sudo cat {TOKEN} | sudo {logs}") == ""
    readable = "grep -rlsaF -f - /etc /usr/local /var /run /home /tmp || true"
    assert on(cluster, "master", f"sudo cat {TOKEN} | {readable}") == ""
    assert on(cluster, "worker-1", "ls -A /opt; id -u notebook 2>/dev/null || true") == ""


def test_the_page_opens_with_its_token_alone(cluster: CommandLine) -> None:
    """What `cm cluster open` prints is JupyterLab; without the token its API refuses, and with it answers."""
    with opened(cluster) as address:
        status, page = answer(address)
        assert status == 200
        assert "<title>JupyterLab</title>" in page
        base, _, query = address.partition("/lab?")
        assert answer(f"{base}/api/status")[0] == 403
        assert answer(f"{base}/api/status?token=0")[0] == 403
        assert answer(f"{base}/api/status?{query}")[0] == 200


def test_the_check_asks_the_server_and_a_stopped_cluster_starts_with_it(cluster: CommandLine) -> None:
    """A server that has another token than the file fails the check; stop and start brings it back with the file's."""
    on(cluster, "master", f"sudo sed -i 's/^..../beef/' {TOKEN}")
    assert "403 with it, expected 200" in on(cluster, "master", f"{CHECK} 2>&1 || true")
    cluster("cluster", "stop", "n", timeout=300)
    cluster("cluster", "start", "n", timeout=300)
    assert on(cluster, "master", CHECK) == "403 without the token, 200 with it, a kernel computes\n"


def test_uninstall_leaves_the_notebooks_alone(cluster: CommandLine) -> None:
    """Nothing of it is left but what was written, the login user's now, and JupyterLab's when it comes back."""
    on(cluster, "master", "echo '{}' >/opt/notebooks/mine.ipynb")
    cluster("cluster", "uninstall", "n", "notebook", timeout=300)
    gone = "ls -d /etc/jupyterlab /opt/jupyterlab /var/lib/jupyterlab /var/lib/cm/services/*"
    assert on(cluster, "master", f"({gone}; pgrep -f 'm [j]upyterlab'; id -u notebook) 2>/dev/null || true") == ""
    assert on(cluster, "master", "stat -c %U /opt/notebooks /opt/notebooks/mine.ipynb") == "cm\ncm\n"
    cluster("cluster", "install", "n", "notebook", timeout=300)
    assert on(cluster, "master", "stat -c %U /opt/notebooks /opt/notebooks/mine.ipynb") == "notebook\nnotebook\n"
