"""Where a devcloud keeps its files, which addresses it has, and how its things are called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devcloud.errors import DevcloudError

ENGINE = "engine"
FAKE = "fake"
DRIVERS = (ENGINE, FAKE)

PORTS = {
    "keystone": 5000,
    "placement": 8778,
    "glance": 9292,
    "neutron": 9696,
    "nova": 8774,
    "cinder": 8776,
    "heat": 8004,
    "heat-cfn": 8000,
}
SERVICES = ("keystone", "placement", "glance", "neutron", "cinder", "nova", "heat")
DATABASES = ("keystone", "placement", "glance", "neutron", "cinder", "nova_api", "nova_cell0", "nova_cell1", "heat")

BRIDGE = "devcloud0"
"""The interface of this machine on the external network."""
PUBLIC_NETWORK = "10.255.80.0/20"
PUBLIC_POOL = ("10.255.80.10", "10.255.95.250")
_ADDRESSES = {ENGINE: "10.255.80.1", FAKE: "127.80.0.1"}
_CLOUDS = {ENGINE: "devcloud", FAKE: "devcloud-fake"}

REPOSITORY = Path(__file__).resolve().parent.parent
MARKER = "DEVCLOUD"
"""The environment variable by which a devcloud's processes are found; its value is the folder of the cloud."""
_LONGEST_SOCKET = 107


@dataclass(frozen=True)
class Cloud:
    """One devcloud: its driver and the folder below which all its files are.

    Args:
        root: shared by the clouds of both drivers (the virtual environment lies in it).
        driver: `engine` (servers are real nodes) or `fake` (Nova's own fake driver: nothing boots).
        images: the cache of the node engine's images (CM_CACHE).

    """

    root: Path
    driver: str
    images: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], driver: str = ENGINE) -> Cloud:
        """Return the cloud that DEVCLOUD_ROOT, CM_CACHE and XDG_CACHE_HOME mean.

        Raises:
            DevcloudError: the folder's path is too long for a unix socket in it.

        """
        caches = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "cloudmesh"
        images = Path(environ.get("CM_CACHE") or caches).expanduser().absolute()
        root = Path(environ.get("DEVCLOUD_ROOT") or caches / "devcloud").expanduser().absolute()
        cloud = cls(root, driver, images)
        if len(os.fsencode(cloud.database_socket)) > _LONGEST_SOCKET:
            raise DevcloudError(f"the path {root} is too long", "set DEVCLOUD_ROOT to a shorter one")
        if root.is_relative_to(REPOSITORY):
            raise DevcloudError(f"{root} lies in the source tree", "set DEVCLOUD_ROOT to a folder outside of it")
        return cloud

    @property
    def folder(self) -> Path:
        """All that belongs to the cloud of this driver."""
        return self.root / self.driver

    @property
    def etc(self) -> Path:
        """The services' settings."""
        return self.folder / "etc"

    @property
    def state(self) -> Path:
        """Databases, image files, volumes, nodes."""
        return self.folder / "state"

    @property
    def log(self) -> Path:
        """One log a service, and what it printed."""
        return self.folder / "log"

    @property
    def run(self) -> Path:
        """Process ids and the database's socket."""
        return self.folder / "run"

    @property
    def cache(self) -> Path:
        """The initialised databases, as they were before anybody used the cloud."""
        return self.folder / "cache"

    @property
    def networks(self) -> Path:
        """One folder a Neutron network: the node engine's, and how it is wired."""
        return self.state / "networks"

    @property
    def database_socket(self) -> Path:
        """Where the database listens, and nowhere else."""
        return self.run / "mariadb.sock"

    @property
    def venv(self) -> Path:
        """The virtual environment of OpenStack."""
        return self.root / "venv"

    @property
    def python(self) -> Path:
        """The interpreter of the virtual environment."""
        return self.venv / "bin" / "python"

    @property
    def address(self) -> str:
        """The address of all APIs; with the engine driver, nodes reach it as well."""
        return _ADDRESSES[self.driver]

    @property
    def name(self) -> str:
        """The name of the ordinary project's entry in clouds.yaml; the administrator's has `-admin` appended."""
        return _CLOUDS[self.driver]

    def url(self, service: str) -> str:
        """Return where a service listens."""
        return f"http://{self.address}:{PORTS[service]}"

    def environment(self) -> dict[str, str]:
        """Return the environment of the cloud's processes: marked, and nothing of the user's."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {
            MARKER: str(self.folder),
            "DEVCLOUD_ROOT": str(self.root),
            "DEVCLOUD_DRIVER": self.driver,
            "CM_CACHE": str(self.images),
            "PATH": path,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{REPOSITORY}:{self.folder / 'plugins'}",
            "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OS_PLACEMENT_CONFIG_DIR": str(self.etc / "placement"),
            "no_proxy": "*",
        }
