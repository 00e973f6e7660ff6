"""`cm bundle create` and `use`: a cluster where there is no network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cloudmesh_cluster.conda import archives, bundled, solver
from cloudmesh_cluster.conda.channels import channels_of
from cloudmesh_cluster.conda.environments import CondaEnvironment
from cloudmesh_cluster.conda.settings import CondaSettings
from cloudmesh_cluster.conda.solver import System
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.events import Emit, Event, now
from cloudmesh_cluster.core.files import make_private, would_be_lost
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.bundle import debian_packages
from cloudmesh_cluster.operations.bundle.archive import Bundle, use_bundle, write_bundle
from cloudmesh_cluster.operations.plan import CreateRequest, make_plan
from cloudmesh_cluster.operations.steps.environments import settings_from
from cloudmesh_cluster.plugins.model import ChosenPlugin
from cloudmesh_cluster.plugins.payloads import archive_files, fetch
from cloudmesh_cluster.plugins.resolve import resolve
from cloudmesh_cluster.providers import provider_of

RELEASES = {"bookworm": System("linux-64", "6.1", "2.36"), "trixie": System("linux-64", "6.12", "2.41")}
"""The systems that a bundle can be made for: kernel and C library of a release of Debian."""
ALSO = {"debian-12": "bookworm", "debian-13": "trixie"}
"""Other names of releases."""


async def create(
    home: Home, profile: str, output: Path | None, environ: Mapping[str, str], emit: Emit,
    *, provider: str | None = None, release: str = "bookworm",
) -> tuple[Path, Bundle]:  # fmt: skip
    """Collect what a profile needs into one archive.

    Args:
        home: whose cache.
        profile: its name or file.
        output: the archive; None is PROFILE.bundle in the current folder.
        environ: the environment.
        emit: told what happens.
        provider: where the nodes will come from; only for local nodes the image goes along.
        release: the system of the nodes, a key of `RELEASES` or `ALSO`.

    Raises:
        UsageError: something of it can't be had.

    """
    plan = make_plan(home, CreateRequest(name="bundle", profile=profile, provider=provider), environ)
    chosen = resolve(plan.profile.plugins, home)
    loop = asyncio.get_running_loop()

    def progress(line: str) -> None:
        loop.call_soon_threadsafe(emit, Event("info", "bundle", message=line))

    files = [path for each in chosen for path in await _payload(each, home, progress)]
    release = ALSO.get(release, release)
    files += await _environments(home, settings_from(chosen), RELEASES[release], progress)
    layers: list[Path] = []
    debs: list[Path] = []
    if plan.provider_type == "local":
        from cloudmesh_cluster.providers.local.provider import LocalProvider

        local = provider_of(home, "local", plan.provider_settings)
        packages = sorted({package for each in chosen for package in each.plugin.packages})
        if isinstance(local, LocalProvider):
            layers = await local.image_layers(plan.profile, packages, emit)
    else:
        debs = [
            await asyncio.to_thread(debian_packages.collect, home, each.plugin.packages, release, progress)
            for each in chosen
            if each.plugin.packages
        ]
    output = (output or Path(f"{plan.profile.name}.bundle")).expanduser().absolute()
    if would_be_lost(output):
        raise UsageError(f"{output} exists; nothing is overwritten", hint="-o FILE")
    files += debs
    made = await asyncio.to_thread(write_bundle, home.cache, plan.profile.name, files, layers, output, progress)
    for file in debs:
        # Where there is a mirror in reach, nodes get what it has.
        file.unlink()
    return output, made


async def _payload(chosen: ChosenPlugin, home: Home, progress: solver.Progress) -> list[Path]:
    archive = await asyncio.to_thread(fetch, chosen, home, progress)
    return archive_files(archive) if archive else []


async def _environments(
    home: Home, settings: CondaSettings, system: System, progress: solver.Progress
) -> Sequence[Path]:
    files: list[Path] = []
    for name, specs in settings.environments.items():
        solver.require_rattler()
        progress(f"environment {name}")
        words = settings.channel_words()
        found = channels_of(words, alias=settings.channel_alias, environ=os.environ, tokens={})
        records = await solver.solve(specs, found, system, home=home, ssl_verify=settings.ssl_verify)
        environment = CondaEnvironment(
            name, specs, tuple(each.shown for each in found), "all", settings.install_prefix, system.platform,
            system.virtual_packages, tuple(solver.package_of(record, found) for record in records), "", made_at=now(),
        ).with_digest()  # fmt: skip
        key = bundled.key_of(name, settings)
        lock = bundled.lock_file(home, key)
        make_private(lock.parent)
        solver.write_lock(lock, records, found, platform=system.platform)
        client = solver.client_for(settings.ssl_verify)
        archive = await asyncio.to_thread(archives.build, environment, records, found, home, client)
        files += bundled.keep(
            home, key, replace(environment, archive_sha256=archive.sha256, link_scripts=archive.link_scripts)
        )
    return files


async def use(home: Home, file: Path, emit: Emit, *, sha256: str | None = None) -> Bundle:
    """Put what a bundle holds into this machine's cache.

    Args:
        home: whose cache.
        file: the bundle.
        emit: told what happens.
        sha256: the digest that the bundle must have; None for any.

    Raises:
        UsageError: it is no bundle, or not the one that is meant; nothing was put anywhere.

    """
    loop = asyncio.get_running_loop()

    def progress(line: str) -> None:
        loop.call_soon_threadsafe(emit, Event("info", "bundle", message=line))

    home.make()
    path = file.expanduser().absolute()
    return await asyncio.to_thread(use_bundle, path, home.cache, progress, sha256=sha256)
