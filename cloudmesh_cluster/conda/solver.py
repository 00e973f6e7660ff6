"""From what is asked for to a lock: exact builds with their digests, as the nodes' systems allow them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.conda.channels import Channel, conceal
from cloudmesh_cluster.conda.environments import Package
from cloudmesh_cluster.core.errors import CmError, UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CommandResult

if TYPE_CHECKING:
    from rattler import Client, RepoDataRecord

SYSTEM = 'uname -m; uname -r; getconf GNU_LIBC_VERSION 2>/dev/null || echo "glibc 0"'
"""The shell line that says on a node what conda's virtual packages are made of."""
PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le"}
Progress = Callable[[str], None]
_TRUSTED = "SSL_CERT_FILE"
_NEEDED = "pip install 'cloudmesh-cluster[conda]'"


@dataclass(frozen=True)
class System:
    """What a lock is made for: conda's platform, and the versions of the oldest kernel and C library among nodes."""

    platform: str
    linux: str
    glibc: str

    @property
    def virtual_packages(self) -> tuple[str, ...]:
        """What conda calls it."""
        machine = next((m for m, platform in PLATFORMS.items() if platform == self.platform), self.platform)
        names = ["__unix=0=0", f"__linux={self.linux}=0", f"__archspec=1={machine}"]
        return (*names, f"__glibc={self.glibc}=0") if self.glibc != "0" else tuple(names)

    def runs(self, virtual_packages: Sequence[str]) -> bool:
        """Return whether what was made for a system with these virtual packages runs on this one."""
        wanted = dict(text.split("=")[:2] for text in virtual_packages)
        there = dict(text.split("=")[:2] for text in self.virtual_packages)
        return wanted.keys() <= there.keys() and all(_numbers(wanted[n]) <= _numbers(there[n]) for n in wanted)


ANY_SYSTEM = System("linux-64", "99", "99")
"""What allows everything: what can't be solved for it can't be solved at all."""


def system_of(results: Sequence[CommandResult]) -> System:
    """Return the one system on which a lock for all of some nodes works, from their answers to `SYSTEM`.

    Raises:
        UsageError: the nodes are of different kinds.

    """
    machines, kernels, libraries = set(), [], []
    for result in results:
        machine, release, library = [*result.stdout.splitlines(), "", "", "glibc 0"][:3]
        machines.add(machine)
        kernels.append(_numbers(release))
        libraries.append(_numbers(library.split()[-1]))
    if len(machines) != 1 or (machine := machines.pop()) not in PLATFORMS:
        raise UsageError(f"no environment fits all nodes: they are {', '.join(sorted(machines)) or machine}",
                         hint="choose nodes of one kind: -t TARGET")  # fmt: skip
    return System(PLATFORMS[machine], _dotted(min(kernels)), _dotted(min(libraries)))


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("-", maxsplit=1)[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers) or (0,)


def _dotted(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))


def require_rattler() -> None:
    """Raise when the solver isn't installed.

    Raises:
        UsageError: says how to install it.

    """
    try:
        import rattler  # noqa: F401
    except ImportError as error:
        raise UsageError(f"conda environments need py-rattler: {error}", hint=_NEEDED) from None


def client_for(ssl_verify: str) -> Client:
    """Return what talks to channels; credentials are read where all of rattler's tools read them.

    Args:
        ssl_verify: "true", "false", or the file of the only certificates to trust.

    Raises:
        UsageError: there is no such file.

    """
    import rattler

    config = rattler.Config()
    if ssl_verify == "false":
        config.set("tls-no-verify", "true")
    trusted = None if ssl_verify in ("true", "false") else Path(ssl_verify).expanduser()
    if trusted is not None and not trusted.is_file():
        raise UsageError(f"there is no file {trusted}", hint="ssl_verify of the plugin conda: true, false, or a file")
    with _trusting(trusted):
        return rattler.Client.from_config(config, max_retries=3, timeout=300)


@contextmanager
def _trusting(certificates: Path | None) -> Iterator[None]:
    """Let a client that is made meanwhile trust these certificates; it reads them once, and nobody else is to."""
    before = os.environ.get(_TRUSTED)
    if certificates is not None:
        os.environ[_TRUSTED] = str(certificates)
    try:
        yield
    finally:
        if certificates is not None:
            os.environ.pop(_TRUSTED)
            if before is not None:
                os.environ[_TRUSTED] = before


async def solve(
    specs: Sequence[str],
    channels: Sequence[Channel],
    system: System,
    *,
    home: Home,
    ssl_verify: str = "true",
    locked: Sequence[RepoDataRecord] = (),
) -> list[RepoDataRecord]:
    """Return exact packages that fulfil all specs.

    Args:
        specs: conda's match specs, such as "python=3.11".
        channels: where to look, by priority.
        system: what the packages must run on.
        home: whose cache keeps what channels offer.
        ssl_verify: see `client_for`.
        locked: packages to keep where the specs allow it.

    Raises:
        UsageError: a spec is none, a channel can't be read, or nothing fulfils all of them, with the solver's reason.

    """
    from rattler import exceptions

    _refuse_bad(specs)
    try:
        try:
            return await _solve(specs, channels, system, locked, home=home, ssl_verify=ssl_verify, sharded=True)
        except exceptions.GatewayError as error:
            # Plain file servers answer "not modified" in a way that rattler does not understand of an index in shards.
            if "304" not in str(error):
                raise
            return await _solve(specs, channels, system, locked, home=home, ssl_verify=ssl_verify, sharded=False)
    except exceptions.SolverError as error:
        what = conceal(str(error).strip(), channels).removeprefix("Cannot solve the request because of: ")
        raise UsageError(f"no environment has {', '.join(specs)}: {what}", hint=_hint(system, channels)) from None
    except (exceptions.GatewayError, exceptions.FetchRepoDataError, exceptions.IoError, OSError) as error:
        what = conceal(str(error).replace("\nCaused by", "; caused by"), channels)
        raise UsageError(f"a channel can't be read: {what}", hint=_hint_for_channel(what)) from None


async def _solve(
    specs: Sequence[str],
    channels: Sequence[Channel],
    system: System,
    locked: Sequence[RepoDataRecord],
    *,
    home: Home,
    ssl_verify: str,
    sharded: bool,
) -> list[RepoDataRecord]:
    import rattler

    gateway = rattler.Gateway(
        cache_dir=home.cache / "conda" / "channels",
        default_config=rattler.SourceConfig(sharded_enabled=sharded),
        client=client_for(ssl_verify),
    )
    records: list[RepoDataRecord] = await rattler.solve(
        [channel.address for channel in channels],
        list(specs),
        gateway=gateway,
        platforms=[system.platform, "noarch"],
        virtual_packages=[_virtual(text) for text in system.virtual_packages],
        locked_packages=list(locked) or None,
    )
    return records


def _refuse_bad(specs: Sequence[str]) -> None:
    import rattler
    from rattler import exceptions

    for spec in specs:
        try:
            rattler.MatchSpec(spec)
        except (exceptions.InvalidMatchSpecError, exceptions.InvalidPackageNameError) as error:
            hint = "for example python=3.11 or 'numpy>=1.26'"
            raise UsageError(f"{spec!r} is no package: {error}", hint=hint) from None


def _hint(system: System, channels: Sequence[Channel]) -> str:
    shown = ", ".join(channel.shown for channel in channels)
    if system == ANY_SYSTEM:
        return f"asked: {shown}"
    return f"asked: {shown}, for {system.platform}, glibc {system.glibc}, Linux {system.linux}"


def _hint_for_channel(what: str) -> str:
    if "certificate" in what:
        return "ssl_verify of the plugin conda: the file of the certificates to trust"
    return "-c takes an address, a folder or a name"


def _virtual(text: str) -> Any:
    import rattler

    name, version, build = text.split("=")
    return rattler.GenericVirtualPackage(
        rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
    )


def package_of(record: RepoDataRecord, channels: Sequence[Channel]) -> Package:
    """Return what is kept of a solved package: no secret is in it."""
    return Package(
        record.name.normalized,
        str(record.version),
        str(record.build),
        conceal(str(record.channel or ""), channels).rstrip("/"),
        conceal(str(record.url), channels),
        (record.sha256 or b"").hex(),
    )


def write_lock(file: Path, records: Sequence[RepoDataRecord], channels: Sequence[Channel], *, platform: str) -> None:
    """Write a lock in rattler's and pixi's format, without secrets, whole or not at all."""
    import rattler

    of = rattler.LockPlatform(platform)
    lock = rattler.LockFile([of])
    lock.set_channels("default", [rattler.LockChannel(channel.address) for channel in channels])
    for record in records:
        lock.add_conda_package("default", of, record)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".lock-") as folder:
        temporary = Path(folder) / "lock"
        lock.to_path(temporary)
        temporary.write_text(conceal(temporary.read_text(), channels))
        temporary.replace(file)


def read_lock(file: Path, channels: Sequence[Channel]) -> list[RepoDataRecord]:
    """Return the packages of a lock, with the addresses at which they can be had.

    Raises:
        CmError: the file is no lock.

    """
    import rattler
    from rattler import exceptions

    text = file.read_text()
    for channel in channels:
        text = text.replace(channel.shown, channel.address)
    # Beside it: the addresses may hold tokens, and what a kill leaves here goes with the cluster.
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".lock-") as folder:
        temporary = Path(folder) / "lock"
        temporary.write_text(text)
        try:
            lock = rattler.LockFile.from_path(temporary)
        except (exceptions.ParseCondaLockError, OSError) as error:
            raise CmError(f"{file} is no lock: {conceal(str(error), channels)}") from None
    found = lock.default_environment()
    records: Mapping[Any, Any] | None = found.conda_repodata_records() if found is not None else None
    return [record for each in (records or {}).values() for record in each]
