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

NUMBERS = range(11)
"""As many devclouds of one driver can run side by side; each has addresses of its own."""
PUBLIC_PREFIX = 20
"""The length of the external network's prefix."""
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
        number: which of the clouds of its driver it is, see `NUMBERS`.

    """

    root: Path
    driver: str
    images: Path
    number: int = 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], driver: str = ENGINE) -> Cloud:
        """Return the cloud that DEVCLOUD_ROOT, DEVCLOUD_NUMBER, CM_CACHE and XDG_CACHE_HOME mean.

        Raises:
            DevcloudError: the folder's path is too long for a unix socket in it, or the number is out of range.

        """
        caches = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "cloudmesh"
        images = Path(environ.get("CM_CACHE") or caches).expanduser().absolute()
        root = Path(environ.get("DEVCLOUD_ROOT") or caches / "devcloud").expanduser().absolute()
        number = environ.get("DEVCLOUD_NUMBER") or "0"
        if number not in map(str, NUMBERS):
            raise DevcloudError(f"invalid DEVCLOUD_NUMBER {number!r}", f"it goes from {NUMBERS[0]} to {NUMBERS[-1]}")
        cloud = cls(root, driver, images, int(number))
        if len(os.fsencode(cloud.database_socket)) > _LONGEST_SOCKET:
            raise DevcloudError(f"the path {root} is too long", "set DEVCLOUD_ROOT to a shorter one")
        if root.is_relative_to(REPOSITORY):
            raise DevcloudError(f"{root} lies in the source tree", "set DEVCLOUD_ROOT to a folder outside of it")
        return cloud

    @property
    def folder(self) -> Path:
        """All that belongs to this cloud."""
        return self.root / f"{self.driver}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return f"-{self.number}" if self.number else ""

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
        return {ENGINE: f"10.255.{self._third}.1", FAKE: f"127.80.{self.number}.1"}[self.driver]

    @property
    def _third(self) -> int:
        return 80 + 16 * self.number

    @property
    def public_network(self) -> str:
        """The external network, whose floating IPs are reached from this machine."""
        return f"10.255.{self._third}.0/{PUBLIC_PREFIX}"

    @property
    def public_pool(self) -> tuple[str, str]:
        """The first and the last floating IP."""
        return f"10.255.{self._third}.10", f"10.255.{self._third + 15}.250"

    @property
    def bridge(self) -> str:
        """The interface of this machine on the external network."""
        return f"devcloud{self.number}"

    @property
    def table(self) -> str:
        """The nftables table that closes the bridge."""
        return f"devcloud{self.number or ''}"

    @property
    def name(self) -> str:
        """The name of the ordinary project's entry in clouds.yaml; the administrator's has `-admin` appended."""
        return f"{_CLOUDS[self.driver]}{self._suffix}"

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
            "DEVCLOUD_NUMBER": str(self.number),
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
