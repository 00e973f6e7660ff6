"""Cinder's volume driver: each volume is a sparse file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cinder.volume import driver

from devcloud.layout import Cloud


class FileDriver(driver.VolumeDriver):
    """Keeps the content of volumes; what they are attached to sees no device."""

    VERSION = "1.0"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cloud = Cloud.from_environment(os.environ, os.environ["DEVCLOUD_DRIVER"])

    def check_for_setup_error(self) -> None:
        """Find everything in order: the folder is made with the settings."""

    def _update_volume_stats(self) -> None:
        self._stats = {
            "volume_backend_name": self.configuration.volume_backend_name,
            "vendor_name": "devcloud",
            "driver_version": self.VERSION,
            "storage_protocol": "file",
            # Sparse files: quotas are the limit.
            "total_capacity_gb": "infinite",
            "free_capacity_gb": "infinite",
        }

    def local_path(self, volume: Any) -> str:
        """Return the file that a volume is."""
        return str(self._file(volume))

    def _file(self, volume: Any) -> Path:
        return self._cloud.state / "cinder" / "volumes" / volume.id

    def create_volume(self, volume: Any) -> None:
        """Make an empty volume."""
        self._file(volume).touch(mode=0o600)
        self.extend_volume(volume, volume.size)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Make a volume larger; sizes are in GiB."""
        os.truncate(self._file(volume), new_size * 1024**3)

    def delete_volume(self, volume: Any) -> None:
        """Remove a volume; a missing one is no error."""
        self._file(volume).unlink(missing_ok=True)

    def clone_image(
        self, context: Any, volume: Any, image_location: Any, image_meta: Any, image_service: Any
    ) -> tuple[dict[str, Any], bool]:
        """Make a volume with the content of an image, as it is: Cinder itself would ask for qemu-img and root."""
        self.create_volume(volume)
        with self._file(volume).open("r+b") as content:
            image_service.download(context, image_meta["id"], content)
        return {}, True

    # --- attachments: Nova's fake driver, which ours is made of, only writes them down -----------------------

    def initialize_connection(self, volume: Any, connector: Any, **options: Any) -> dict[str, Any]:
        """Say where a volume is."""
        return {"driver_volume_type": "local", "data": {"device_path": self.local_path(volume)}}

    def terminate_connection(self, volume: Any, connector: Any, **options: Any) -> None:
        """Let go of a volume."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """Offer a volume: a file needs nothing for that."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Offer a volume again after a start."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Offer a volume no longer."""
