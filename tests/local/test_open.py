"""`cm cluster open` on real nodes: pages of the private network on this machine, for as long as the command runs."""

from __future__ import annotations

import asyncio
import html
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.tunnels import tunnel
from tests.support.command_line import CommandLine
from tests.support.plugin_folder import write_plugin

PLUGIN = """
description: two pages of this node
settings:
  extra: {type: boolean, default: false, description: whether there is a third page}
ports:
  front: {number: 8001, role: master, ui: true, path: /hello.html, token: /etc/pages-token}
  back: {number: 8001, role: worker, ui: true}
  extra: {number: 8003, role: master, ui: true, when: extra}
"""
ALL = """#!/bin/bash
set -euo pipefail
case $1 in
    install)
        mkdir -p /srv/pages
        echo "this is $CM_NODE" >/srv/pages/hello.html
        (umask 077; echo 'se cret&' >/etc/pages-token)
        address=$(getent hosts "$CM_NODE" | cut -d ' ' -f 1)
        cm-service add pages -- python3 -m http.server 8001 --bind "$address" --directory /srv/pages
        ;;
esac
"""
ROLE = """#!/bin/bash
case $1 in start | stop | status) cm-service "$1" pages ;; esac
"""
PATIENCE = 60.0


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `o` of one worker that runs the plugin `pages`."""
    files = {"plugin.yaml": PLUGIN, "all.sh": ALL, "master.sh": ROLE, "worker.sh": ROLE}
    write_plugin(shared_cm.home, "pages", files)
    shared_cm("cluster", "create", "o", "-p", "default", "--provider", "local", "-n", "1", timeout=900)
    shared_cm("cluster", "install", "o", "pages")
    yield shared_cm
    shared_cm("cluster", "delete", "o", "-y")


def opened(
    cluster: CommandLine, *options: str, pages: tuple[str, ...] = ("pages",), **environ: str
) -> tuple[subprocess.Popen[str], list[dict[str, str]]]:
    """Return a running `cm cluster open o`, for pages or for all, and the rows that it printed."""
    process = subprocess.Popen(
        cluster.argv("cluster", "open", "o", *pages, "-f", "json", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=cluster.environment() | environ,
    )
    assert process.stdout is not None
    text = ""
    while not text.endswith("]\n"):
        line = process.stdout.readline()
        assert line, f"it ended with {process.wait()} after {text!r}"
        text += line
    return process, json.loads(text)


def page(address: str) -> str:
    """Return what an address answers."""
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:  # noqa: S310  (what cm printed)
        return str(answer.read().decode())


def test_every_page_is_here_until_ctrl_c(cluster: CommandLine) -> None:
    """Those of both roles, on loopback only, the token in its place; Ctrl-C ends it with 0 and closes the ports."""
    process, rows = opened(cluster, "--no-browser", pages=())
    front, back = rows
    assert [(row["name"], row["node"]) for row in rows] == [("front", "o-master"), ("back", "o-worker-1")]
    assert front["address"].startswith("http://127.0.0.1:")
    assert front["address"].endswith("/hello.html?token=se+cret%26")
    assert page(front["address"]) == "this is o-master\n"
    assert page(back["address"] + "hello.html") == "this is o-worker-1\n"

    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    for row in rows:
        with pytest.raises(urllib.error.URLError):
            page(row["address"])


def test_the_browser_gets_each_address(cluster: CommandLine, tmp_path: Path) -> None:
    """One with a token by way of a private file, since everybody can read what programs are started with."""
    browser = tmp_path / "browser"
    browser.write_text(f"""#!/bin/sh
echo "$1" >>{tmp_path}/seen
case $1 in file://*) stat -c %a "${{1#file://}}" >{tmp_path}/mode; cat "${{1#file://}}" >{tmp_path}/page ;; esac
""")
    browser.chmod(0o755)
    process, (front, back) = opened(cluster, BROWSER=f"{browser} %s")
    deadline = time.monotonic() + PATIENCE
    seen = tmp_path / "seen"
    while time.monotonic() < deadline and (not seen.exists() or len(seen.read_text().split()) < 2):
        time.sleep(0.1)
    process.terminate()
    assert process.wait(PATIENCE) == 0

    redirect, plain = seen.read_text().split()
    assert plain == back["address"]
    assert redirect.startswith(f"file://{cluster.home}/")
    assert "token" not in redirect
    assert (tmp_path / "mode").read_text() == "600\n"
    assert f'url={html.escape(front["address"])}"' in (tmp_path / "page").read_text()
    assert not Path(redirect.removeprefix("file://")).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_tunnel_is_no_way_in_for_others(cluster: CommandLine) -> None:
    """Another user of this machine gets nothing, and the one who opened it is told."""
    program = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read())"

    async def through() -> tuple[int, int]:
        async with tunnel(Home(cluster.home, cluster.cache), "o", 8001, node="worker-1") as port:
            words = [sys.executable, "-I", "-c", program, f"http://127.0.0.1:{port}/hello.html"]
            codes = []
            for who in ({}, {"user": 65534, "group": 65534, "extra_groups": []}):
                process = await asyncio.create_subprocess_exec(*words, stdout=-3, stderr=-3, **who)  # type: ignore[arg-type]
                codes.append(await process.wait())
            return codes[0], codes[1]

    assert asyncio.run(through()) == (0, 1)


def test_a_tunnel_lasts_as_long_as_its_block(cluster: CommandLine) -> None:
    """The function that the command is made of, for programs."""

    async def through() -> tuple[str, int]:
        async with tunnel(Home(cluster.home, cluster.cache), "o", 8001, node="worker-1") as port:
            return await asyncio.to_thread(page, f"http://127.0.0.1:{port}/hello.html"), port

    text, port = asyncio.run(through())

    assert text == "this is o-worker-1\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def test_nothing_is_there_to_be_opened_yet(cm: CommandLine) -> None:
    """The first command ever is wrong usage, like any other one."""
    assert "no cluster" in cm("cluster", "open", "o", "pages", expect=2).stderr


def test_what_can_not_be_opened_says_why(cluster: CommandLine) -> None:
    """A page that isn't there is wrong usage; one that doesn't run is an error that names the way to start it."""
    assert "back, front, pages" in cluster("cluster", "open", "o", "hadoop", "--no-browser", expect=2).stderr
    cluster("cluster", "stop", "o", "pages")
    silent = cluster("cluster", "open", "o", "front", "--no-browser", expect=1).stderr
    assert "nothing answers at port 8001" in silent
    assert "cm cluster start o pages" in silent
    cluster("cluster", "start", "o", "pages")


def test_a_dead_node_ends_it(cluster: CommandLine) -> None:
    """With an error, as `kubectl port-forward` does."""
    process, _ = opened(cluster, "--no-browser")
    cluster("cluster", "stop", "o")
    assert process.wait(PATIENCE) == 1
    assert "not running" in cluster("cluster", "open", "o", "pages", "--no-browser", expect=2).stderr
    cluster("cluster", "start", "o")
