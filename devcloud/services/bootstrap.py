"""What an administrator does once: catalog, accounts, flavors, the image, the external network, quotas.

`python -m devcloud.services.bootstrap identity|cloud`; doing it again changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from keystoneauth1 import session
from keystoneauth1.identity import v3

from devcloud.layout import Cloud
from devcloud.passwords import Passwords

FLAVORS = {"m1.tiny": (1, 512, 5), "m1.small": (1, 1024, 10), "m1.medium": (2, 2048, 20), "m1.large": (2, 4096, 40)}
IMAGES = {"debian-12": {}, "never-boots": {"devcloud_boot": "never"}}
NETWORK = "public"
_CATALOG = {
    "placement": ("placement", ""),
    "glance": ("image", ""),
    "neutron": ("network", ""),
    "nova": ("compute", "/v2.1"),
    "cinder": ("volumev3", "/v3/%(tenant_id)s"),
    "heat": ("orchestration", "/v1/%(tenant_id)s"),
    "heat-cfn": ("cloudformation", "/v1"),
}
_INTERFACES = ("public", "internal", "admin")


class Administrator:
    """A session of the administrator of one cloud."""

    def __init__(self, cloud: Cloud, passwords: Passwords) -> None:
        self._cloud = cloud
        self._passwords = passwords
        self._keystone = cloud.url("keystone") + "/v3"
        self._session = session.Session(
            v3.Password(
                auth_url=self._keystone,
                username="admin",
                password=passwords.admin,
                project_name="admin",
                user_domain_id="default",
                project_domain_id="default",
            )
        )

    # --- identity --------------------------------------------------------------------------------------------

    def identity(self) -> None:
        """Fill the catalog; make Heat's account and domain, and the ordinary project with its user."""
        self._fill_catalog()
        roles = {role["name"]: role["id"] for role in self._list(f"{self._keystone}/roles", "roles")}
        for name in ("heat_stack_owner", "heat_stack_user", "service"):
            if name not in roles:
                roles[name] = self._make("role", name=name)
        service = self._make("project", name="service", domain_id="default")
        heat = self._make("user", name="heat", password=self._passwords.heat, domain_id="default")
        demo_project = self._make("project", name="demo", domain_id="default")
        demo = self._make("user", name="demo", password=self._passwords.demo, domain_id="default")
        admin, admin_project = self._session.get_user_id(), self._session.get_project_id()
        for project, user, granted in (
            (service, heat, ("admin", "service")),
            (admin_project, admin, ("service", "heat_stack_owner")),
            (demo_project, demo, ("member", "heat_stack_owner")),
        ):
            for role in granted:
                self._session.put(f"{self._keystone}/projects/{project}/users/{user}/roles/{roles[role]}")
        domain = self._make("domain", name="heat")
        keeper = self._make("user", name="heat_domain_admin", password=self._passwords.heat_domain, domain_id=domain)
        self._session.put(f"{self._keystone}/domains/{domain}/users/{keeper}/roles/{roles['admin']}")

    def _fill_catalog(self) -> None:
        for name, (kind, path) in _CATALOG.items():
            service = self._make("service", name=name, type=kind)
            known = self._list(f"{self._keystone}/endpoints?service_id={service}", "endpoints")
            for interface in {*_INTERFACES} - {row["interface"] for row in known}:
                endpoint = {
                    "service_id": service,
                    "interface": interface,
                    "region_id": "RegionOne",
                    "url": self._cloud.url(name) + path,
                }
                self._session.post(f"{self._keystone}/endpoints", json={"endpoint": endpoint})

    def _list(self, url: str, key: str) -> list[dict[str, Any]]:
        return list(self._session.get(url).json()[key])

    def _make(self, kind: str, **fields: str) -> str:
        """Return the id of a thing of Keystone's, made when there is none of its name."""
        many = f"{kind}s"
        where = f"&domain_id={fields['domain_id']}" if "domain_id" in fields else ""
        found = self._list(f"{self._keystone}/{many}?name={fields['name']}{where}", many)
        made = found[0] if found else self._session.post(f"{self._keystone}/{many}", json={kind: fields}).json()[kind]
        return str(made["id"])

    # --- what servers need -----------------------------------------------------------------------------------

    def cloud(self) -> None:
        """Make the flavors, the images and the external network."""
        self._make_flavors()
        for name, properties in IMAGES.items():
            self._make_image(name, properties)
        self._make_external_network()

    def _make_flavors(self) -> None:
        compute = self._cloud.url("nova") + "/v2.1"
        known = {row["name"] for row in self._list(f"{compute}/flavors", "flavors")}
        for number, (name, (cpus, memory, disk)) in enumerate(FLAVORS.items(), 1):
            if name not in known:
                flavor = {"id": str(number), "name": name, "vcpus": cpus, "ram": memory, "disk": disk}
                self._session.post(f"{compute}/flavors", json={"flavor": flavor})

    def _make_image(self, name: str, properties: Mapping[str, str]) -> None:
        images = self._cloud.url("glance") + "/v2/images"
        if self._list(f"{images}?name={name}", "images"):
            return
        # The file is a placeholder: servers boot from the node engine's base image, or not at all.
        fields = {"disk_format": "raw", "container_format": "bare", "visibility": "public", "min_ram": 256}
        system = {"os_type": "linux", "os_distro": "debian", "os_version": "12", "os_admin_user": "debian"}
        made = self._session.post(images, json={"name": name, **fields, **system, **properties}).json()
        content = {"Content-Type": "application/octet-stream"}
        self._session.put(f"{images}/{made['id']}/file", data=b"\0" * 1024, headers=content)

    def _make_external_network(self) -> None:
        networks = self._cloud.url("neutron") + "/v2.0"
        if self._list(f"{networks}/networks?name={NETWORK}", "networks"):
            return
        provider = {"provider:network_type": "flat", "provider:physical_network": "external"}
        network = {"name": NETWORK, "router:external": True, **provider}
        made = self._session.post(f"{networks}/networks", json={"network": network}).json()["network"]
        first, last = self._cloud.public_pool
        subnet = {
            "network_id": made["id"],
            "name": NETWORK,
            "ip_version": 4,
            "cidr": self._cloud.public_network,
            "enable_dhcp": False,
            "allocation_pools": [{"start": first, "end": last}],
        }
        self._session.post(f"{networks}/subnets", json={"subnet": subnet})


def main(step: str) -> None:
    """Do one step."""
    cloud = Cloud.from_environment(os.environ, os.environ["DEVCLOUD_DRIVER"])
    administrator = Administrator(cloud, Passwords.ensure(cloud.folder / "passwords.json"))
    {"identity": administrator.identity, "cloud": administrator.cloud}[step]()


if __name__ == "__main__":
    main(sys.argv[1])
