"""A project of a devcloud for one module of tests: its quotas are its own, and so is all that is in it."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from openstack.exceptions import raise_from_response

from devcloud import clouds_yaml
from tests.conftest import delete_clusters
from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import Devcloud, wait_for
from tests.support.faulty_proxy import Fault, Proxy, faulty_proxy

ROLES = ("member", "heat_stack_owner")
QUOTAS = {"compute": ("instances", "cores", "ram", "key_pairs"), "volume": ("volumes", "gigabytes")}


@dataclass(frozen=True)
class Project:
    """A project with one user, known to clouds.yaml by a name.

    Args:
        devcloud: where it is.
        identity: its id.
        user: its user's id.
        clouds: the clouds.yaml that has its entry.
        name: the entry.

    """

    devcloud: Devcloud
    identity: str
    user: str
    clouds: Path
    name: str

    @cached_property
    def member(self) -> Devcloud:
        """The cloud as the project's user sees it."""
        return Devcloud(self.devcloud.cloud, self.name, clouds=self.clouds)

    def everything(self) -> list[tuple[str, str]]:
        """Return everything that is in the project, by kind and id, whatever it is called."""
        connection = self.member.connection
        network, compute = connection.network, connection.compute
        own = {"project_id": self.identity}
        listed: dict[str, Any] = {
            "server": compute.servers(),
            "keypair": compute.keypairs(),
            "server group": compute.server_groups(),
            "port": network.ports(**own),
            "subnet": network.subnets(**own),
            "network": network.networks(**own),
            "router": network.routers(**own),
            "security group": network.security_groups(**own),
            "floating ip": network.ips(**own),
            "volume": connection.block_storage.volumes(),
        }
        found = [(kind, each.id) for kind, all_of_it in listed.items() for each in all_of_it]
        return sorted([*found, *(("stack", each.id) for each in self.member.heat.stacks.list())])

    def give_entry(self, name: str, *, auth: dict[str, str] | None = None, **more: str) -> None:
        """Write another entry into its clouds.yaml: as its own, but for what is given."""
        content = yaml.safe_load(self.clouds.read_text())
        own = content["clouds"][self.name]
        content["clouds"][name] = {**own, **more, "auth": {**own["auth"], **(auth or {})}}
        self.clouds.write_text(yaml.safe_dump(content))

    def give_application_credential(self, name: str, *, unrestricted: bool) -> None:
        """Make an application credential of the project's user, and an entry that uses it."""
        made = self.member.connection.identity.create_application_credential(self.user, name, unrestricted=unrestricted)
        content = yaml.safe_load(self.clouds.read_text())
        content["clouds"][name] = {
            "region_name": "RegionOne",
            "auth_type": "v3applicationcredential",
            "auth": {
                "auth_url": content["clouds"][self.name]["auth"]["auth_url"],
                "application_credential_id": made.id,
                "application_credential_secret": made.secret,
            },
        }
        self.clouds.write_text(yaml.safe_dump(content))

    @contextmanager
    def quota(self, **limits: int) -> Iterator[None]:
        """Have the administrator set limits of Nova (`instances`...), Cinder (`volumes`...) or Neutron (`port`...)."""
        admin = self.devcloud.admin.connection
        services = {name: service for service, names in QUOTAS.items() for name in names}
        by_service: dict[str, dict[str, int]] = {}
        for name, limit in limits.items():
            by_service.setdefault(services.get(name, "network"), {})[name] = limit
        for service, some in by_service.items():
            getattr(admin, f"set_{service}_quotas")(self.identity, **some)
        try:
            yield
        finally:
            for service in by_service:
                getattr(admin, f"delete_{service}_quotas")(self.identity)

    def revoke(self, token: str) -> None:
        """Make a token worthless."""
        identity = self.devcloud.admin.connection.identity
        raise_from_response(identity.delete("/auth/tokens", headers={"X-Subject-Token": token}))


@contextmanager
def own_project(devcloud: Devcloud, folder: Path) -> Iterator[Project]:
    """Make a project with a user; in the end it goes with every stack in it."""
    name, password = f"t-{secrets.token_hex(3)}", secrets.token_hex(8)
    identity = devcloud.admin.connection.identity
    project = identity.create_project(name=name, domain_id="default")
    user = identity.create_user(name=name, password=password, domain_id="default", default_project_id=project.id)
    try:
        for role in ROLES:
            identity.assign_project_role_to_user(project, user, identity.find_role(role))
        entry = clouds_yaml.entries(devcloud.cloud)[devcloud.cloud.name]
        entry["auth"] |= {"username": name, "password": password, "project_name": name}
        clouds = folder / "clouds.yaml"
        clouds.touch(mode=0o600)
        clouds.write_text(yaml.safe_dump({"clouds": {name: entry}}))
        made = Project(devcloud, project.id, user.id, clouds, name)
        yield made
        for stack in made.member.heat.stacks.list():
            made.member.delete_stack(stack.stack_name)
        wait_for(lambda: not any(kind == "server" for kind, _ in made.everything()))
    finally:
        for group in devcloud.admin.connection.network.security_groups(project_id=project.id):
            devcloud.admin.connection.network.delete_security_group(group)
        identity.delete_user(user)
        identity.delete_project(project)


@contextmanager
def cm_of(project: Project, cache: Path, providers: str) -> Iterator[CommandLine]:
    """Yield `cm` with a home that has some providers of a project; its clusters go in the end."""
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    file = home / "providers.yaml"
    file.touch(mode=0o600)
    file.write_text(providers, encoding="utf-8")
    command_line = CommandLine(home, cache, environ={"OS_CLIENT_CONFIG_FILE": str(project.clouds)})
    try:
        yield command_line
        delete_clusters(command_line)
    finally:
        shutil.rmtree(home)


@contextmanager
def nothing_left(project: Project, cm: CommandLine) -> Iterator[None]:
    """Compare all that is in a project before and after: nothing may have come, and no cluster `t` be known."""
    before = project.everything()
    yield
    try:
        left = sorted(set(project.everything()) - set(before))
        assert not left, left
        assert cm("cluster", "list", "-f", "json").stdout.strip() == "[]"
    finally:  # what one test leaves is not the next one's
        cm("cluster", "delete", "t", "--force", "-y", expect=None)


@contextmanager
def second_project(project: Project, entry: str) -> Iterator[Project]:
    """Make another project of the same user, known to the same clouds.yaml by another entry."""
    identity = project.devcloud.admin.connection.identity
    name = f"t-{secrets.token_hex(3)}"
    made = identity.create_project(name=name, domain_id="default")
    try:
        for role in ROLES:
            identity.assign_project_role_to_user(made, project.user, identity.find_role(role))
        project.give_entry(entry, auth={"project_name": name})
        other = Project(project.devcloud, made.id, project.user, project.clouds, entry)
        yield other
        for stack in other.member.heat.stacks.list():
            other.member.delete_stack(stack.stack_name)
    finally:
        for group in project.devcloud.admin.connection.network.security_groups(project_id=made.id):
            project.devcloud.admin.connection.network.delete_security_group(group)
        identity.delete_project(made)


@contextmanager
def heat_behind_a_proxy(project: Project, fault: Fault) -> Iterator[Proxy]:
    """Have the entry `troubled` reach Heat through a proxy that answers by itself now and then."""
    endpoint = f"/v1/{project.identity}"
    with faulty_proxy(project.devcloud.cloud.url("heat"), fault) as proxy:
        project.give_entry("troubled", orchestration_endpoint_override=proxy.url + endpoint)
        yield proxy
