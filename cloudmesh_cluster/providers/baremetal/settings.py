"""What the provider is told: the user's key and SSH configuration, and the machines of the profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from cloudmesh_cluster.core.model import Machine, Profile


@dataclass(frozen=True)
class Settings:
    """How the user reaches the machines, and which they are.

    Args:
        private_key: the user's key; None for those that SSH's configuration and agent have.
        ssh_config: the configuration for the system's ssh; None for the user's own.
        user: who logs in to all machines.
        machines: the head first.

    """

    private_key: Path | None = None
    ssh_config: Path | None = None
    user: str = ""
    machines: tuple[Machine, ...] = ()

    @classmethod
    def of(cls, plain: Mapping[str, object]) -> Settings:
        """Return the settings that `for_profile` made, or those of `providers.yaml` alone."""
        machines = cast("Iterable[Mapping[str, Any]]", plain.get("machines") or ())
        return cls(
            private_key=_path(plain.get("private_key")),
            ssh_config=_path(plain.get("ssh_config")),
            user=str(plain.get("user") or ""),
            machines=tuple(Machine(**each) for each in machines),
        )


def for_profile(plain: Mapping[str, object], profile: Profile) -> dict[str, object]:
    """Return the settings of a provider for the machines and the user of a profile."""
    return {**plain, "user": profile.user, "machines": [asdict(machine) for machine in profile.machines]}


def _path(value: object) -> Path | None:
    return Path(str(value)).expanduser() if value else None
