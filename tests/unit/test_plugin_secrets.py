"""Tests of what only the nodes of one cluster may know."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Node, PluginUse
from cloudmesh_cluster.plugins.certificates import client_certificate
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.plugins.secrets import secret_files


def node(cluster: str, role: str = "master") -> Node:
    """Return a node of a cluster."""
    if role == "master":
        return Node(f"{cluster}-master", "master", 0, "running", "10.88.0.10")
    return Node(f"{cluster}-worker-1", "worker", 1, "running", "10.88.0.11")


def test_secrets_are_made_once_for_each_cluster_and_private(tmp_path: Path) -> None:
    """Nodes added later get the same; another cluster has its own; nobody else reads them here or on a node."""
    home = Home(tmp_path, tmp_path)
    (slurm,) = resolve([PluginUse("slurm")], home)
    first, again, other = (secret_files(home, each, slurm) for each in (node("a"), node("a", "worker"), node("b")))

    assert first == again
    assert first.keys() == other.keys() == {"secrets/munge.key"}
    assert first != other
    content, mode = first["secrets/munge.key"]
    assert (len(content), mode) == (129, 0o600)
    (kept,) = home.secrets("a", "slurm").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_certificates_come_where_the_setting_asks_for_them(tmp_path: Path) -> None:
    """Each node has a key of its own, and only the client the authority's."""
    home = Home(tmp_path, tmp_path)
    (plain,) = resolve([PluginUse("dask", {"tls": False})], home)
    (secure,) = resolve([PluginUse("dask")], home)
    assert secret_files(home, node("a"), plain) == {}

    master, worker = (secret_files(home, each, secure) for each in (node("a"), node("a", "worker")))
    assert master.keys() == {"secrets/ca.pem", "secrets/cert.pem", "secrets/key.pem"}
    assert master["secrets/ca.pem"] == worker["secrets/ca.pem"]
    assert master["secrets/key.pem"] != worker["secrets/key.pem"]
    assert b"PRIVATE KEY" not in master["secrets/ca.pem"][0]
    for path in home.cluster("a").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def context(purpose: ssl.Purpose, files: dict[str, Path]) -> ssl.SSLContext:
    """Return what one side of a connection trusts and shows."""
    made = ssl.create_default_context(purpose, cafile=files["ca.pem"])
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(files["cert.pem"], files["key.pem"])
    return made


MEMBERS = [("a", "a-master", True), ("a", "other", False), ("b", "a-master", False)]


@pytest.mark.parametrize(("cluster", "name", "fits"), MEMBERS)
def test_only_members_of_the_cluster_talk(tmp_path: Path, cluster: str, name: str, fits: bool) -> None:
    """A client of the cluster reaches a node by its name; another name, and a client of another cluster, do not."""
    home = Home(tmp_path, tmp_path)
    (secure,) = resolve([PluginUse("dask")], home)
    files = {}
    for path, (content, _) in secret_files(home, node("a"), secure).items():
        files[Path(path).name] = tmp_path / Path(path).name
        files[Path(path).name].write_bytes(content)
    server, client = socket.socketpair()

    def serve() -> None:
        try:
            context(ssl.Purpose.CLIENT_AUTH, files).wrap_socket(server, server_side=True).sendall(b"hello")
        except (ssl.SSLError, OSError):
            server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ours = context(ssl.Purpose.SERVER_AUTH, client_certificate(home, cluster))
        assert ours.wrap_socket(client, server_hostname=name).recv(5) == b"hello"
        talked = True
    except (ssl.SSLError, OSError):
        talked = False
        client.close()
    thread.join()
    assert talked is fits


def test_the_client_keeps_its_certificate(tmp_path: Path) -> None:
    """Programs that hold a connection must not lose it to the next one."""
    home = Home(tmp_path, tmp_path)
    first = {name: path.read_bytes() for name, path in client_certificate(home, "a").items()}
    assert first == {name: path.read_bytes() for name, path in client_certificate(home, "a").items()}


def test_secrets_of_a_role_are_no_other_nodes_business(tmp_path: Path) -> None:
    """The notebook's token comes to the master, which serves it, and to no worker."""
    home = Home(tmp_path, tmp_path)
    (notebook,) = resolve([PluginUse("notebook")], home)

    assert secret_files(home, node("a"), notebook).keys() == {"secrets/token"}
    assert secret_files(home, node("a", "worker"), notebook) == {}
