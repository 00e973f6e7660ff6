"""Bring a devcloud up, take it down, and say how it is."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from devcloud import clouds_yaml, configuration, database, install, network, nodes, processes, tables
from devcloud.errors import DevcloudError
from devcloud.layout import DATABASES, ENGINE, PORTS, REPOSITORY, SERVICES, Cloud
from devcloud.passwords import Passwords

Say = Callable[[str], None]
_PATIENCE = 180.0
_GRACE = 2.0
_READY = ".ready"
_MADE_BY = ("layout.py", "services/bootstrap.py", "services/serve.py", "database.py")


def up(cloud: Cloud, say: Say) -> None:
    """Start a cloud, made first when there is none; one that runs is left alone.

    Services that another checkout has started are restarted: its code may be another, or be gone.

    Raises:
        DevcloudError: this machine lacks something, an older devcloud has made the cloud, or a service doesn't start.

    """
    if cloud.driver == ENGINE and os.geteuid() != 0:
        raise DevcloudError("the engine driver needs root", "run it as root, or with --driver fake")
    _refuse_older(cloud)
    install.ensure(cloud, say)
    cloud.folder.mkdir(parents=True, exist_ok=True)
    passwords = Passwords.ensure(cloud.folder / "passwords.json")
    configuration.write(cloud, passwords)
    with _locked(cloud), ThreadPoolExecutor(1) as aside:
        image = aside.submit(nodes.ensure_image, cloud, say) if cloud.driver == ENGINE else None
        if cloud.driver == ENGINE:
            network.make(cloud)
        _stop_services_of_other_checkouts(cloud, say)
        _ensure_state(cloud, passwords, say)
        _start_services(cloud)
        clouds_yaml.write_entries(cloud)
        if image is not None:
            image.result()


def _refuse_older(cloud: Cloud) -> None:
    missing = [name for name in DATABASES if not (cloud.state / "mariadb" / name).is_dir()]
    if missing and (cloud.state / _READY).exists():
        raise DevcloudError(
            f"{cloud.name} was made by an older devcloud, without {', '.join(missing)}",
            f"devcloud/devcloud clean --driver {cloud.driver}, which removes its servers; then up again",
        )


def _ensure_state(cloud: Cloud, passwords: Passwords, say: Say) -> None:
    """Have the databases run: as they were, or as cached, or made afresh."""
    if (cloud.state / _READY).exists():
        database.start(cloud)
        return
    _stop_services(cloud)
    key = _cache_key(cloud, passwords)
    if database.restore(cloud, key):
        database.start(cloud)
    else:
        _make_state(cloud, passwords, key, say)
    (cloud.state / _READY).touch()


def _make_state(cloud: Cloud, passwords: Passwords, key: str, say: Say) -> None:
    say("making the databases (once)")
    database.make(cloud, passwords)
    with ThreadPoolExecutor(len(tables.MAKERS)) as together:
        for made in [together.submit(make, cloud, passwords) for make in tables.MAKERS]:
            made.result()
    say("making accounts, flavors, the image and the external network (once)")
    _start_service(cloud, "keystone")
    processes.run(cloud, "bootstrap", [cloud.python, "-m", "devcloud.services.bootstrap", "identity"])
    _start_services(cloud)
    processes.run(cloud, "bootstrap", [cloud.python, "-m", "devcloud.services.bootstrap", "cloud"])
    _stop_services(cloud)
    database.save(cloud, key)
    database.start(cloud)


def _cache_key(cloud: Cloud, passwords: Passwords) -> str:
    text = [install.version(), repr(passwords), cloud.address]
    text += [(REPOSITORY / "devcloud" / name).read_text(encoding="utf-8") for name in _MADE_BY]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()


def _start_services(cloud: Cloud) -> None:
    """Start what doesn't run; Keystone first, since the others ask it for tokens as they start."""
    _start_service(cloud, "keystone")
    for name in SERVICES:
        _spawn(cloud, name)
    for name in SERVICES:
        processes.wait_for_port(cloud, name, PORTS[name], patience=_PATIENCE)
    processes.wait_for_port(cloud, "heat", PORTS["heat-cfn"], patience=_PATIENCE)


def _start_service(cloud: Cloud, name: str) -> None:
    _spawn(cloud, name)
    processes.wait_for_port(cloud, name, PORTS[name], patience=_PATIENCE)


def _spawn(cloud: Cloud, name: str) -> None:
    if processes.process_id(cloud, name) is not None:
        return
    if processes.listens(cloud.address, PORTS[name]):
        raise DevcloudError(f"another program listens at {cloud.url(name)}")
    processes.start(cloud, name, [cloud.python, "-m", "devcloud.services.serve", name])


def _stop_services(cloud: Cloud) -> None:
    running = [processes.process_id(cloud, name) for name in SERVICES]
    processes.end([pid for pid in running if pid is not None], grace=_GRACE)
    database.stop(cloud)


def _stop_services_of_other_checkouts(cloud: Cloud, say: Say) -> None:
    running = {name: processes.process_id(cloud, name) for name in SERVICES}
    strangers = {name: pid for name, pid in running.items() if pid and not processes.runs_this_code(cloud, pid)}
    if strangers:
        say(f"restarting what another checkout has started: {', '.join(strangers)}")
        processes.end(strangers.values(), grace=_GRACE)


def down(cloud: Cloud) -> None:
    """End all processes of a cloud, its servers included; what they have on disk stays."""
    if not cloud.folder.is_dir():
        return
    with _locked(cloud):
        _stop_services(cloud)
        nodes.close_all(cloud)
        processes.end(processes.marked(cloud))
        network.remove(cloud)


def clean(cloud: Cloud) -> None:
    """Take a cloud down and remove it: servers, databases, logs, its entries in clouds.yaml.

    What a fresh one is made of quickly stays: the databases as they were at first, and their passwords.
    """
    down(cloud)
    nodes.remove_all(cloud)
    clouds_yaml.remove_entries(cloud)
    for folder in (cloud.state, cloud.etc, cloud.log, cloud.run, cloud.folder / "plugins"):
        shutil.rmtree(folder, ignore_errors=True)


def purge(cloud: Cloud) -> None:
    """Remove all that belongs to a cloud, and the virtual environment when no other cloud needs it."""
    clean(cloud)
    shutil.rmtree(cloud.folder, ignore_errors=True)
    if not any(cloud.root.glob("*/passwords.json")):
        install.remove(cloud)


@contextmanager
def _locked(cloud: Cloud) -> Iterator[None]:
    import fcntl

    with (cloud.folder / "lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def status(cloud: Cloud) -> list[tuple[str, int | None, int]]:
    """Return name, process id (None: it doesn't run) and memory in KiB of every program of a cloud."""
    rows = []
    for name in (database.NAME, *SERVICES):
        pid = processes.process_id(cloud, name)
        rows.append((name, pid, processes.memory_kib(pid) if pid is not None else 0))
    return rows
