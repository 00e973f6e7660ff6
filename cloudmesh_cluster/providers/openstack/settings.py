"""What `providers.yaml` and options say of a cloud."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from cloudmesh_cluster.core.errors import UsageError, did_you_mean

FloatingIPs = Literal["master", "all", "none"]
HostKeysBy = Literal["console", "handle"]


@dataclass(frozen=True)
class Settings:
    """The settings of an OpenStack provider.

    Args:
        os_cloud: the entry of `clouds.yaml`; None for `OS_CLOUD` and `OS_*`.
        image: for roles whose profile names none.
        flavor: likewise.
        network: an existing network, by name or id; None makes one with a router.
        subnet: of that network, when it has several.
        cidr: of the network to make.
        external_network: where floating IPs come from; None takes the only one there is.
        dns: name servers of the network to make, separated by spaces.
        root_volume: size in GiB of the volumes that servers boot from; None boots from disks of their hosts.
        floating_ip: which nodes get one: "master", "all" or "none".
        ssh_from: from where SSH is let in, as CIDR; None is this machine's address as seen on the way to the cloud.
        availability_zone: of all servers.
        anti_affinity: "yes" asks for different hosts.
        signal: "heat": the last node tells Heat when it is done; "ssh" where nodes can't reach Heat.
        host_keys: "console": they are read from the console log; "handle": each node tells Heat its own.

    """

    os_cloud: str | None = None
    image: str | None = None
    flavor: str | None = None
    network: str | None = None
    subnet: str | None = None
    cidr: str = "10.88.0.0/24"
    external_network: str | None = None
    dns: str = ""
    root_volume: str | None = None
    floating_ip: FloatingIPs = "master"
    ssh_from: str | None = None
    availability_zone: str | None = None
    anti_affinity: str = "no"
    signal: Literal["heat", "ssh"] = "heat"
    host_keys: HostKeysBy = "console"

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Settings:
        """Return settings from plain data.

        Raises:
            UsageError: a setting is unknown or has an impossible value.

        """
        known = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise UsageError(f"provider openstack: unknown setting {name!r}", hint=did_you_mean(name, known))
            if isinstance(value, list | dict):
                raise UsageError(f"provider openstack: {name} is one text, not a list or a mapping")
        texts = {name: str(value) for name, value in given.items() if value is not None}
        settings = cls(**texts)  # type: ignore[arg-type]
        _choose("floating_ip", settings.floating_ip, get_args(FloatingIPs))
        _choose("signal", settings.signal, ("heat", "ssh"))
        _choose("anti_affinity", settings.anti_affinity, ("yes", "no"))
        _choose("host_keys", settings.host_keys, get_args(HostKeysBy))
        if not re.fullmatch(r"[1-9]\d{0,5}", settings.root_volume or "1"):
            what = f"provider openstack: root_volume {settings.root_volume!r}"
            raise UsageError(what, hint="a size in GiB, such as 20")
        if settings.host_keys == "handle" and settings.signal == "ssh":
            what = "host_keys: handle needs nodes that reach Heat, signal: ssh says that they don't"
            raise UsageError(f"provider openstack: {what}", hint="host_keys: console, or leave signal out")
        return settings

    @property
    def root_disk(self) -> int | None:
        """The size in GiB of the volumes that servers boot from, if they do."""
        return int(self.root_volume) if self.root_volume else None


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"provider openstack: {name} {value!r}", hint=f"one of {', '.join(choices)}")
