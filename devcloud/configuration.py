"""The files that the services read, and the folders that they name."""

from __future__ import annotations

from pathlib import Path

from devcloud.layout import SERVICES, Cloud
from devcloud.passwords import Passwords, write_private
from devcloud.settings import Sections, Settings

_NODE_IDENTITY = "00000000-dc00-4000-8000-000000000001"
_ENTRY_POINTS = """\
[neutron.ml2.mechanism_drivers]
devcloud = devcloud.services.port_driver:PortDriver
"""


def write(cloud: Cloud, passwords: Passwords) -> None:
    """Write the settings of all services, and make the folders that they name."""
    _make_folders(cloud)
    settings = Settings(cloud, passwords)
    for file, sections in (
        ("keystone/keystone.conf", settings.keystone()),
        ("placement/placement.conf", settings.placement()),
        ("glance/glance-api.conf", settings.glance()),
        ("neutron/neutron.conf", settings.neutron()),
        ("neutron/ml2.conf", settings.ports()),
        ("cinder/cinder.conf", settings.cinder()),
        ("nova/nova.conf", settings.nova()),
        ("heat/heat.conf", settings.heat()),
        ("mariadb.conf", settings.database()),
    ):
        write_private(cloud.etc / file, render(sections))
    (cloud.state / "nova" / "compute_id").write_text(_NODE_IDENTITY + "\n", encoding="utf-8")
    _write_entry_points(cloud.folder / "plugins" / "devcloud-0.dist-info")


def render(sections: Sections) -> str:
    """Return sections as oslo.config and MariaDB read them."""
    lines = []
    for name, options in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_word(value)}" for key, value in options.items()]
    return "\n".join(lines) + "\n"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _make_folders(cloud: Cloud) -> None:
    for folder in (cloud.etc, cloud.state, cloud.log, cloud.run, cloud.cache):
        folder.mkdir(parents=True, exist_ok=True)
    cloud.folder.chmod(0o700)
    for name in (*SERVICES, "heat/environment.d", "heat/templates"):
        (cloud.etc / name).mkdir(parents=True, exist_ok=True)
    for name in ("fernet-keys", "credential-keys"):
        (cloud.state / "keystone" / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("nova/instances", "neutron", "cinder/volumes", "networks"):
        (cloud.state / name).mkdir(parents=True, exist_ok=True)
    for name in ("images", "staging", "tasks"):
        (cloud.state / "glance" / name).mkdir(parents=True, exist_ok=True)


def _write_entry_points(folder: Path) -> None:
    # Neutron finds mechanism drivers by the metadata of an installed distribution only.
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: devcloud\nVersion: 0\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text(_ENTRY_POINTS, encoding="utf-8")
    (folder / "RECORD").write_text("", encoding="utf-8")
