"""The entries of a devcloud in the user's clouds.yaml: merged by a small program in the virtual environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devcloud.errors import DevcloudError
from devcloud.layout import Cloud
from devcloud.passwords import Passwords, write_private


def file() -> Path:
    """Return the clouds.yaml that entries are written to: below $CM_DEVCLOUD_HOME, or the user's own."""
    folder = os.environ.get("CM_DEVCLOUD_HOME")
    return (Path(folder) if folder else Path.home() / ".config" / "openstack").expanduser().absolute() / "clouds.yaml"


def entries(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """Return the entries of the ordinary user and of the administrator, by name."""
    passwords = Passwords.ensure(cloud.folder / "passwords.json")
    accounts = {cloud.name: ("demo", passwords.demo), f"{cloud.name}-admin": ("admin", passwords.admin)}
    return {
        name: {
            "auth": {
                "auth_url": cloud.url("keystone") + "/v3",
                "username": user,
                "password": password,
                "project_name": user,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": "RegionOne",
            "identity_api_version": "3",
        }
        for name, (user, password) in accounts.items()
    }


def write_entries(cloud: Cloud) -> None:
    """Write the entries, in place of those of the same names; all others stay.

    Raises:
        DevcloudError: the file that is there can't be understood.

    """
    _merge(cloud, entries(cloud))


def remove_entries(cloud: Cloud) -> None:
    """Remove the entries; without the virtual environment, which wrote them, there are none."""
    if cloud.python.exists() and file().exists():
        _merge(cloud, {cloud.name: None, f"{cloud.name}-admin": None})


def _merge(cloud: Cloud, changes: Mapping[str, dict[str, Any] | None]) -> None:
    # PyYAML is in the virtual environment; the Python that runs devcloud may have none.
    words: list[str | Path] = [cloud.python, "-m", "devcloud.clouds_yaml", file()]
    done = subprocess.run(
        words, input=json.dumps(changes), capture_output=True, text=True, env=cloud.environment(), check=False
    )
    if done.returncode:
        raise DevcloudError(done.stderr.strip().splitlines()[-1], f"repair {file()}, or set CM_DEVCLOUD_HOME")


def merge(path: Path, changes: Mapping[str, dict[str, Any] | None]) -> None:
    """Change entries of a clouds.yaml; None removes one. A file without entries is removed."""
    import yaml

    former = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        content = yaml.safe_load(former) or {}
        clouds = {**(content.get("clouds") or {}), **changes}
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise SystemExit(f"{path} is no clouds.yaml: {' '.join(str(error).split())}") from error
    content["clouds"] = {name: entry for name, entry in clouds.items() if entry is not None}
    if content == (yaml.safe_load(former) if former else None):
        return
    if not content["clouds"] and len(content) == 1:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Through a link that the user may have made; comments are lost, which YAML's own writer can't keep.
    write_private(path.resolve(), yaml.safe_dump(content, sort_keys=False))


if __name__ == "__main__":
    merge(Path(sys.argv[1]), json.load(sys.stdin))
