"""The tables of OpenStack's services, made by their own programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from devcloud import processes
from devcloud.layout import Cloud
from devcloud.passwords import Passwords


def _keystone_tables(cloud: Cloud, passwords: Passwords) -> None:
    manage: list[str | Path] = [
        cloud.venv / "bin" / "keystone-manage",
        "--config-file",
        cloud.etc / "keystone" / "keystone.conf",
    ]
    owner = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    url = cloud.url("keystone") + "/v3"
    processes.run(cloud, "tables-keystone", [*manage, "db_sync"])
    processes.run(cloud, "tables-keystone", [*manage, "fernet_setup", *owner])
    processes.run(cloud, "tables-keystone", [*manage, "credential_setup", *owner])
    words = ["bootstrap", "--bootstrap-region-id", "RegionOne", "--bootstrap-public-url", url]
    words += ["--bootstrap-internal-url", url, "--bootstrap-admin-url", url]
    # By the environment: everybody may read the words of a command.
    processes.run(cloud, "tables-keystone", [*manage, *words], more={"OS_BOOTSTRAP_PASSWORD": passwords.admin})


def _nova_tables(cloud: Cloud, _: Passwords) -> None:
    processes.run(cloud, "tables-nova", [cloud.python, "-m", "devcloud.services.serve", "nova-tables"])


def _neutron_tables(cloud: Cloud, _: Passwords) -> None:
    files: list[str | Path] = [
        word for name in ("neutron.conf", "ml2.conf") for word in ("--config-file", cloud.etc / "neutron" / name)
    ]
    processes.run(cloud, "tables-neutron", [cloud.venv / "bin" / "neutron-db-manage", *files, "upgrade", "heads"])


def _tables(service: str, file: str, *words: str) -> Callable[[Cloud, Passwords], None]:
    def make(cloud: Cloud, _: Passwords) -> None:
        program = cloud.venv / "bin" / f"{service}-manage"
        processes.run(cloud, f"tables-{service}", [program, "--config-file", cloud.etc / service / file, *words])

    return make


MAKERS: tuple[Callable[[Cloud, Passwords], None], ...] = (
    _keystone_tables,
    _nova_tables,
    _neutron_tables,
    _tables("heat", "heat.conf", "db_sync"),
    _tables("cinder", "cinder.conf", "db", "sync"),
    _tables("glance", "glance-api.conf", "db_sync"),
    _tables("placement", "placement.conf", "db", "sync"),
)
"""Each makes the tables of one service; they may run beside each other."""
