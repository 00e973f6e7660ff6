"""Nova's virt driver: each server is a node of the node engine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from nova import exception
from nova.api.metadata import base as metadata
from nova.compute import power_state
from nova.virt import fake, hardware

from devcloud import nodes
from devcloud.layout import Cloud
from devcloud.services import host

_LONGEST_CONSOLE = 100 * 1024


class EngineDriver(fake.FakeDriverWithoutFakeNodes):
    """The fake driver, but for the life of servers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cloud = Cloud.from_environment(os.environ, os.environ["DEVCLOUD_DRIVER"])

    @property
    def _drives(self) -> Path:
        return self._cloud.state / "drives"

    def init_host(self, host: str) -> None:
        """Remove config drives that a killed Nova had not given to their nodes: they hold keys."""
        shutil.rmtree(self._drives, ignore_errors=True)
        super().init_host(host)

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        """Start a server for the first time, or after a rebuild."""
        super().spawn(context, instance, image_meta, injected_files, admin_password, allocations, network_info)
        if _never_boots(instance):
            return
        drive = self._drives / instance.uuid
        try:
            _write_drive(drive, instance, injected_files, network_info)
            host.ask("spawn", **_node(instance, network_info), drive=str(drive))
        except (host.HostError, ValueError) as error:
            raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=str(error)) from error
        finally:
            shutil.rmtree(drive, ignore_errors=True)

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Remove a server with its disk."""
        host.ask("destroy", node=instance.uuid)
        super().destroy(context, instance, network_info, block_device_info, destroy_disks, destroy_secrets)

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        """Pull a server's plug."""
        host.ask("stop", node=instance.uuid)

    def power_on(self, context: Any, instance: Any, *arguments: Any, **options: Any) -> None:
        """Start a stopped server with its disk."""
        if not _never_boots(instance):
            host.ask("start", node=instance.uuid)

    def reboot(self, context: Any, instance: Any, *arguments: Any, **options: Any) -> None:
        """Stop and start a server; soft or hard is the same here."""
        self.power_off(instance)
        self.power_on(context, instance)

    def resume_state_on_host_boot(self, context: Any, instance: Any, *arguments: Any, **options: Any) -> None:
        """Start a server that ran when the cloud was taken down."""
        self.power_on(context, instance)

    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        """Return whether a server runs."""
        if _never_boots(instance):
            return hardware.InstanceInfo(state=power_state.RUNNING)
        if nodes.network_of(self._cloud, instance.uuid) is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        running = host.ask("info", node=instance.uuid)["running"]
        return hardware.InstanceInfo(state=power_state.RUNNING if running else power_state.SHUTDOWN)

    def get_console_output(self, context: Any, instance: Any) -> bytes:
        """Return the end of what a server has printed."""
        return nodes.console(self._cloud, instance.uuid)[-_LONGEST_CONSOLE:]


def _never_boots(instance: Any) -> bool:
    return bool(instance.system_metadata.get("image_devcloud_boot") == "never")


def _node(instance: Any, network_info: Any) -> dict[str, Any]:
    vifs = list(network_info or [])
    if len(vifs) != 1:
        raise ValueError(f"a server of devcloud has exactly one port, not {len(vifs)}")
    subnets = [subnet for subnet in vifs[0]["network"]["subnets"] if subnet["ips"]]
    if len(subnets) != 1:
        raise ValueError(f"a port of devcloud has exactly one fixed address, not {len(subnets)}")
    cidr = str(subnets[0]["cidr"])
    prefix = cidr.rsplit("/", maxsplit=1)[-1]
    gateway = (subnets[0].get("gateway") or {}).get("address") or nodes.first_address(cidr)
    return {
        "node": instance.uuid,
        "network": vifs[0]["network"]["id"],
        "gateway": f"{gateway}/{prefix}",
        "address": f"{subnets[0]['ips'][0]['address']}/{prefix}",
        "mac": vifs[0]["address"],
        "hostname": instance.hostname,
        "memory_mib": instance.flavor.memory_mb,
        "cpus": float(instance.flavor.vcpus),
    }


def _write_drive(drive: Path, instance: Any, injected_files: Any, network_info: Any) -> None:
    """Write the config drive as Nova makes it, in the one version that cloud-init reads."""
    content = metadata.InstanceMetadata(instance, content=injected_files, network_info=network_info)
    for path, data in content.metadata_for_config_drive():
        if path.startswith(("openstack/latest/", "openstack/content/")):
            file = drive / path
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.write_bytes(data if isinstance(data, bytes) else data.encode())
