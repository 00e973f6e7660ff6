"""Services answer the nodes of their cluster and `cm`, and nobody else, whatever befalls the nodes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from tests.support.command_line import CommandLine
from tests.support.plugin_folder import write_plugin
from tests.support.reach import ORDINARY, SSH, Reach, open_outside, ssh_answers_this_machine, who_may

PLUGIN = """
description: serves, by root and by a user of its own, where it says and where it does not
users: [pages]
ports:
  front: {number: 8001, role: master}
  back: {number: 8001, role: worker}
  inner: {number: 8002, role: worker, inner: true}
"""
ALL = """#!/bin/bash
source "$(dirname "$0")/plugin.sh"
serve_all() { # USER PORT...: on all addresses
    local user=$1 port
    shift
    for port; do cm-service add "pages-$port" --user "$user" -- python3 -m http.server "$port" --directory /srv; done
}
case $1 in
    install)
        make_user pages /var/lib/pages
        serve_all root 8001 8002
        serve_all pages 8003
        ;;
    uninstall)
        forget_all pages-8001 pages-8002 pages-8003
        forget_user pages
        ;;
esac
"""
ROLE = """#!/bin/bash
source "$(dirname "$0")/plugin.sh"
case $1 in
    start) start_all pages-8001 8001 pages-8002 8002 pages-8003 8003 ;;
    stop) stop_all pages-8001 pages-8002 pages-8003 ;;
esac
"""
PORTS = (8001, 8002, 8003)


@pytest.fixture(scope="module")
def cluster(shared_cm: CommandLine) -> Iterator[CommandLine]:
    """Return `cm` with a cluster `f` of two workers that runs the plugin `pages`."""
    files = {"plugin.yaml": PLUGIN, "all.sh": ALL, "master.sh": ROLE, "worker.sh": ROLE}
    write_plugin(shared_cm.home, "pages", files)
    profile = shared_cm.home / "pages.yaml"
    profile.write_text("name: pages\nplugins: [pages]\n")
    shared_cm("cluster", "create", "f", "-p", str(profile), "--provider", "local", timeout=900)
    yield shared_cm
    shared_cm("cluster", "delete", "f", "-y")


def tried(cluster: CommandLine) -> list[Reach]:
    """Return what everybody gets from all ports but SSH's; all of them must be served."""
    rows = [row for row in who_may(cluster, "f") if row.port != SSH]
    assert {row.port for row in rows} == set(PORTS)
    return rows


def test_only_nodes_get_an_answer(cluster: CommandLine) -> None:
    """A machine of the same network gets none, whether a port is written down or not; inner ports are for services."""
    rows = tried(cluster)

    assert open_outside(rows) == []
    for row in rows:
        expected = "refused" if row.port == 8002 else "open"
        assert (row.same_node, row.other_node) == (expected, expected), row
    assert {row.outside for row in rows if row.port == 8003} == {"silent"}


def test_this_machine_has_no_way_to_them(cluster: CommandLine) -> None:
    """The nodes' network is one of its own: nobody here gets to a node, not even to the port that is open to all."""
    (address, *_) = [node["private_ip"] for node in json.loads(cluster("cluster", "nodes", "f", "-f", "json").stdout)]

    assert not ssh_answers_this_machine(address)


def test_services_and_the_login_user_reach_what_is_inner(cluster: CommandLine) -> None:
    """Who works with services, and these among themselves, are not in each other's way."""
    line = "python3 -c \"import socket; socket.create_connection(('f-worker-2', 8002), timeout=5)\""
    for who in ("", "sudo ", "sudo -u pages "):
        cluster("cluster", "cmd", "f", "-t", "worker-1", "--", who + line)
    other = cluster("cluster", "cmd", "f", "-t", "worker-1", "--", f"sudo -u {ORDINARY} {line}", expect=1)
    assert "refused" in other.stdout


def test_it_comes_back_with_the_services(cluster: CommandLine) -> None:
    """After a reboot, and where somebody has flushed all rules: a service does not start without it."""
    cluster("cluster", "stop", "f")
    cluster("cluster", "start", "f")
    assert open_outside(tried(cluster)) == []

    cluster("cluster", "cmd", "f", "--", "sudo nft flush ruleset")
    assert len(open_outside(tried(cluster))) == 9
    cluster("cluster", "cmd", "f", "--", "sudo cm-service restart pages-8003")
    assert open_outside(tried(cluster)) == []


def test_who_joins_is_let_in_and_who_left_is_not(cluster: CommandLine) -> None:
    """The rules know the nodes that the cluster has now."""
    cluster("cluster", "scale", "f", "+1")
    assert open_outside(rows := tried(cluster)) == []
    assert {row.other_node for row in rows if row.port == 8001} == {"open"}

    cluster("cluster", "scale", "f", "-1")
    known = cluster("cluster", "cmd", "f", "-t", "master", "--", "sudo nft list set inet cm nodes").stdout
    assert "10.88.0.12" in known
    assert "10.88.0.13" not in known


def test_what_does_not_work_starts_no_service(cluster: CommandLine) -> None:
    """A node whose rules can't be made says why, and what to do, instead of serving everybody."""
    program = shlex.quote("#!/bin/sh\necho 'no such table' >&2; exit 1")
    there = ("cluster", "cmd", "f", "-t", "worker-1", "--")
    cluster("cluster", "stop", "f", "pages")
    cluster(*there, f"sudo mv /usr/sbin/nft /root/; printf %s {program} | sudo install -m 755 /dev/stdin /usr/sbin/nft")
    said = cluster("cluster", "start", "f", "pages", expect=1).stderr
    cluster(*there, "sudo mv -f /root/nft /usr/sbin/nft")
    cluster("cluster", "resume", "f")

    assert "cm-firewall: no such table" in said
    assert "listen_to: network" in said


def test_without_the_plugin_nothing_is_left_of_it(cluster: CommandLine) -> None:
    """The table goes with what it was for."""
    cluster("cluster", "uninstall", "f", "pages")

    answers = json.loads(cluster("cluster", "cmd", "f", "-f", "json", "--", "sudo nft list ruleset").stdout)
    assert [answer["stdout"] for answer in answers] == ["", "", ""]
