"""The devcloud itself: a real OpenStack, whose servers are real nodes."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloudmesh_cluster.nodes.hosts import parse_console_host_keys
from devcloud import nodes, processes
from tests.support.devcloud_clients import Devcloud, wait_for

TEMPLATES = Path(__file__).parent.parent / "data" / "openstack"
TEMPLATE = (TEMPLATES / "server.yaml").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Server:
    """The server of a stack, and how to log in to it."""

    devcloud: Devcloud
    stack: str
    outputs: dict[str, Any]
    folder: Path

    @property
    def id(self) -> str:
        """Nova's id."""
        return str(self.outputs["server"])

    @property
    def address(self) -> str:
        """Its floating IP."""
        return str(self.outputs["address"])

    def host_keys(self) -> list[str]:
        """Return the host keys on its console."""
        return parse_console_host_keys(self.devcloud.nova.servers.get_console_output(self.id))

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell line by the system's ssh, which trusts nothing but the console."""
        known = self.folder / f"known-{self.stack}"
        known.write_text("".join(f"{self.address} {key}\n" for key in self.host_keys()[-1:]))
        options = {
            "UserKnownHostsFile": str(known),
            "StrictHostKeyChecking": "yes",
            "IdentityFile": str(self.folder / "key"),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return subprocess.run(
            ["ssh", "-F", "none", *words, f"debian@{self.address}", command], capture_output=True, text=True
        )

    def run(self, command: str) -> str:
        """Return what a shell line prints, once the server accepts logins."""
        wait_for(lambda: self.ssh("true").returncode == 0, patience=90)
        done = self.ssh(command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a login key."""
    made = tmp_path_factory.mktemp("logins")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made / "key"], check=True)
    return made


def boot(devcloud: Devcloud, folder: Path, name: str) -> Server:
    """Create a stack of one server."""
    key = (folder / "key.pub").read_text(encoding="utf-8")
    return Server(devcloud, name, devcloud.create_stack(name, TEMPLATE, public_key=key), folder)


@pytest.fixture(scope="module")
def server(devcloud: Devcloud, folder: Path) -> Iterator[Server]:
    """Yield the server of a stack made for all tests of this module."""
    name = f"devcloud-{uuid.uuid4().hex[:6]}"
    try:
        yield boot(devcloud, folder, name)
    finally:
        devcloud.delete_stack(name)


def test_stack_is_complete_when_its_node_has_signalled(server: Server) -> None:
    """A wait condition is released by curl on the node itself, and says what the node has sent."""
    assert server.outputs["said"] == '{"1": "from the node"}'
    assert server.devcloud.nova.servers.get(server.id).status == "ACTIVE"


def test_login_by_floating_ip_with_the_host_key_of_the_console(server: Server) -> None:
    """The system's ssh reaches the server by its floating IP, and knows it by its console log alone."""
    assert server.run("hostname && id -un").split() == ["same-name", "debian"]


def test_server_is_what_nova_and_neutron_say(server: Server) -> None:
    """Fixed address, hardware address, memory limit and instance id on the node are those of the APIs."""
    port = next(iter(server.devcloud.connection.network.ports(device_id=server.id)))
    seen = server.run("ip -o addr show eth0 && ip -o link show eth0 && sudo cloud-init query instance_id")
    assert f"{port.fixed_ips[0]['ip_address']}/24" in seen
    assert port.mac_address in seen
    assert server.id in seen
    assert port.status == "ACTIVE"


def test_node_reaches_the_apis_and_nothing_else_of_this_machine(server: Server) -> None:
    """From a node, Heat answers; a port of this machine that is no API doesn't."""
    address = server.devcloud.cloud.address
    assert server.run(f"curl -s -o /dev/null -m 20 -w '%{{http_code}}' http://{address}:8004/") == "300"
    listener = subprocess.Popen(["python3", "-m", "http.server", "--bind", address, "7999"], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: processes.listens(address, 7999), patience=20)
        assert server.ssh(f"curl -s -m 3 http://{address}:7999/").returncode == 28
    finally:
        listener.terminate()
        listener.wait()


def test_server_with_the_same_addresses_and_name_in_another_stack(server: Server, folder: Path) -> None:
    """Two stacks may use the same network, address and name: each login reaches its own server, and they each other."""
    second = f"{server.stack}-2"
    try:
        other = boot(server.devcloud, folder, second)
        for each in (server, other):
            each.run(f"echo {each.stack} > /tmp/mine")
        assert [each.run("cat /tmp/mine") for each in (server, other)] == [server.stack, second]
        assert server.run(f"curl -s -m 10 telnet://{other.address}:22 < /dev/null | head -c 4") == "SSH-"
    finally:
        server.devcloud.delete_stack(second)


def test_stop_start_and_reboot_keep_the_disk(server: Server) -> None:
    """A stopped server doesn't answer; started or rebooted it has its files, and its first boot isn't repeated."""
    nova = server.devcloud.nova
    server.run("echo kept > keep")
    nova.servers.stop(server.id)
    server.devcloud.wait_for_server(server.id, "SHUTOFF")
    assert server.ssh("true").returncode == 255
    nova.servers.start(server.id)
    server.devcloud.wait_for_server(server.id, "ACTIVE")
    assert server.run("cat keep /var/tmp/first-boots").split() == ["kept", "booted"]
    before = server.run("cut -d' ' -f22 /proc/1/stat")
    nova.servers.reboot(server.id, "HARD")
    server.devcloud.wait_for_server(server.id, "ACTIVE")
    assert server.run("cat keep").split() == ["kept"]
    assert server.run("cut -d' ' -f22 /proc/1/stat") != before


def test_rebuild_gives_a_fresh_disk_with_new_user_data(server: Server) -> None:
    """A rebuilt server keeps id and addresses, has fresh disk and host keys, and runs the new user_data."""
    server.run("echo kept > keep")
    keys = server.host_keys()
    nova = server.devcloud.nova
    image = server.devcloud.connection.image.find_image("debian-12")
    nova.servers.rebuild(server.id, image.id, userdata="#!/bin/sh\necho again > /var/tmp/rebuilt\n")
    wait_for(lambda: nova.servers.get(server.id).status == "REBUILD" or server.host_keys() != keys)
    server.devcloud.wait_for_server(server.id, "ACTIVE")
    wait_for(lambda: server.host_keys() and server.host_keys() != keys)
    wait_for(lambda: server.ssh("test -e /run/cloud-init/result.json").returncode == 0, patience=90)
    assert server.run("ls; cat /var/tmp/rebuilt") == "again"


def test_network_without_a_router_has_no_way_out(devcloud: Devcloud) -> None:
    """A server on a network without a router boots, and reaches neither the APIs nor anything beyond."""
    name = f"devcloud-{uuid.uuid4().hex[:6]}"
    template = """
heat_template_version: 2018-08-31
resources:
  network: {type: OS::Neutron::Net}
  subnet: {type: OS::Neutron::Subnet, properties: {network: {get_resource: network}, cidr: 10.20.0.0/24}}
  server:
    type: OS::Nova::Server
    properties:
      {image: debian-12, flavor: m1.tiny, networks: [{subnet: {get_resource: subnet}}], user_data_format: RAW,
       user_data: "#!/bin/sh\\ncurl -s -m 3 http://ADDRESS:8004/; echo api $?\\n"}
outputs: {server: {value: {get_resource: server}}}
"""
    try:
        outputs = devcloud.create_stack(name, template.replace("ADDRESS", devcloud.cloud.address))
        seen = wait_for(lambda: _console_with(devcloud, outputs["server"], "api "), patience=90)
        assert "api 28" in seen
    finally:
        devcloud.delete_stack(name)


def _console_with(devcloud: Devcloud, server: str, words: str) -> str:
    text = str(devcloud.nova.servers.get_console_output(server))
    return text if words in text else ""


def test_volumes_are_attached_and_booted_from(devcloud: Devcloud) -> None:
    """Cinder says of a volume attached, and of one made from the image to boot from, whose they are; both go."""
    name = f"devcloud-{uuid.uuid4().hex[:6]}"
    storage = devcloud.connection.block_storage
    files = devcloud.cloud.state / "cinder" / "volumes"
    before = {each.id for each in storage.volumes()}
    try:
        outputs = devcloud.create_stack(name, (TEMPLATES / "volumes.yaml").read_text(encoding="utf-8"))
        made = {each.attachments[0]["server_id"]: each for each in storage.volumes() if each.id not in before}
        assert set(made) == {outputs["server"], outputs["from_volume"]}
        data, root = made[outputs["server"]], made[outputs["from_volume"]]
        assert (data.id, data.status, data.size, data.is_bootable) == (outputs["data"], "in-use", 2, False)
        assert (root.status, root.size, root.is_bootable) == ("in-use", 5, True)
        assert [devcloud.nova.servers.get(each).status for each in made] == ["ACTIVE"] * 2
        assert (files / data.id).stat().st_size == 2 * 1024**3
        assert wait_for(lambda: _console_with(devcloud, outputs["from_volume"], "has booted"), patience=90)
    finally:
        devcloud.delete_stack(name)
    wait_for(lambda: {each.id for each in storage.volumes()} == before, patience=60)
    assert not any((files / each.id).exists() for each in (data, root))


def test_image_that_never_boots(devcloud: Devcloud) -> None:
    """A server of the image `never-boots` is ACTIVE for Nova, and nothing is ever on its console."""
    name = f"devcloud-{uuid.uuid4().hex[:6]}"
    network = devcloud.connection.network.create_network(name=name)
    try:
        devcloud.connection.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.20.0.0/24")
        made = devcloud.connection.create_server(
            name, image="never-boots", flavor="m1.tiny", network=name, auto_ip=False
        )
        devcloud.wait_for_server(made.id, "ACTIVE")
        assert devcloud.nova.servers.get_console_output(made.id) == ""
        devcloud.connection.delete_server(made.id, wait=True)
    finally:
        devcloud.connection.network.delete_network(network)


def test_quotas_of_the_ordinary_project_are_real(fake_devcloud: Devcloud) -> None:
    """Nova refuses what is beyond the quota that the administrator has set."""
    from novaclient import exceptions

    project = fake_devcloud.connection.current_project_id
    # Not that of servers: somebody else may be using the cloud.
    fake_devcloud.admin.nova.quotas.update(project, server_groups=0, force=True)
    try:
        with pytest.raises(exceptions.Forbidden, match="Quota exceeded"):
            fake_devcloud.nova.server_groups.create("one-too-many", "anti-affinity")
    finally:
        fake_devcloud.admin.nova.quotas.delete(project)


def test_nothing_is_left_of_deleted_stacks(devcloud: Devcloud, folder: Path) -> None:
    """A deleted stack leaves no process, folder, network interface or control group on this machine."""
    name = f"devcloud-{uuid.uuid4().hex[:6]}"
    try:
        boot(devcloud, folder, name)
        made = devcloud.heat.resources.get(name, "network").physical_resource_id
        network = nodes.Network(devcloud.cloud, made)
        assert {left.kind for left in network.engine.leftovers()} >= {"process", "folder", "file"}
        assert network.cable in os.listdir("/sys/class/net")
    finally:
        devcloud.delete_stack(name)
    wait_for(lambda: network.cable not in os.listdir("/sys/class/net"), patience=20)
    assert network.engine.leftovers() == []
    assert not network.folder.exists()


def test_application_credentials_create_stacks(fake_devcloud: Devcloud) -> None:
    """An unrestricted application credential of the ordinary user is enough for Heat, which makes trusts by it."""
    import openstack
    from heatclient import client

    name = f"devcloud-{uuid.uuid4().hex[:6]}"
    template = "{heat_template_version: 2018-08-31, resources: {made: {type: OS::Heat::RandomString}}}"
    identity = fake_devcloud.connection.identity
    user = fake_devcloud.connection.current_user_id
    made = identity.create_application_credential(user, name, unrestricted=True)
    try:
        connection = openstack.connect(
            auth_type="v3applicationcredential",
            auth={
                "auth_url": fake_devcloud.cloud.url("keystone") + "/v3",
                "application_credential_id": made.id,
                "application_credential_secret": made.secret,
            },
            region_name="RegionOne",
        )
        heat = client.Client("1", session=connection.session, region_name="RegionOne")
        heat.stacks.create(stack_name=name, template=template)
        wait_for(lambda: fake_devcloud.stack_status(name) == "CREATE_COMPLETE", patience=60)
    finally:
        fake_devcloud.delete_stack(name)
        identity.delete_application_credential(user, made)


def test_fake_servers_are_active_at_once(fake_devcloud: Devcloud) -> None:
    """With the fake driver, servers are made and deleted as on any cloud, and nothing boots."""
    name = f"devcloud-{uuid.uuid4().hex[:6]}"
    template = """
heat_template_version: 2018-08-31
resources:
  network: {type: OS::Neutron::Net}
  subnet: {type: OS::Neutron::Subnet, properties: {network: {get_resource: network}, cidr: 10.20.0.0/24}}
  servers:
    type: OS::Heat::ResourceGroup
    properties:
      count: 5
      resource_def:
        type: OS::Nova::Server
        properties: {image: debian-12, flavor: m1.small, networks: [{subnet: {get_resource: subnet}}]}
outputs: {servers: {value: {get_attr: [servers, refs]}}}
"""
    try:
        servers = fake_devcloud.create_stack(name, template)["servers"]
        assert [fake_devcloud.nova.servers.get(each).status for each in servers] == ["ACTIVE"] * 5
    finally:
        fake_devcloud.delete_stack(name)
