"""Building an environment once, for the path that it will have on every node, into one archive with all digests."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.conda.channels import Channel, conceal
from cloudmesh_cluster.conda.environments import CondaEnvironment
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.state.locks import only_one

if TYPE_CHECKING:
    from rattler import Client, RepoDataRecord

_LEFT_OUT = ("CACHEDIR.TAG", "conda-meta/history")
_CLIENTS_OWN = ("extracted_package_dir", "package_tarball_full_path", "requested_spec", "requested_specs", "link")


@dataclass(frozen=True)
class Archive:
    """A built environment: the file, its SHA-256, and a line for each file in it, as nodes list theirs."""

    file: Path
    sha256: str
    manifest: str
    link_scripts: tuple[str, ...] = ()


def cached(environment: CondaEnvironment, home: Home) -> Archive | None:
    """Return the archive of an environment if this machine has it whole."""
    file = _place(environment, home)
    try:
        about = json.loads(file.with_suffix(".json").read_text())
        manifest = file.with_suffix(".files").read_text()
        if _sha256(file) != about["sha256"]:
            return None
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return Archive(file, about["sha256"], manifest, tuple(about["link_scripts"]))


def files_of(environment: CondaEnvironment, home: Home) -> list[Path]:
    """Return the files that an archive is made of in the cache."""
    place = _place(environment, home)
    return [place.with_suffix(".json"), place.with_suffix(".files"), place]


def build(
    environment: CondaEnvironment,
    records: Sequence[RepoDataRecord],
    channels: Sequence[Channel],
    home: Home,
    client: Client,
) -> Archive:
    """Fetch the packages of a lock, each once for all clusters, and build the environment, once for all nodes.

    rattler checks every package's digest, keeps the packages in the cache and locks them against other processes.

    Args:
        environment: what to build; its folder on the nodes is the path that is written into its files.
        records: its lock, with the addresses where the packages are.
        channels: what must not be seen.
        home: whose cache.
        client: talks to the channels.

    Raises:
        UsageError: a package can't be had, or its digest is wrong.

    """
    from rattler import exceptions

    place = _place(environment, home)
    place.parent.mkdir(parents=True, exist_ok=True)
    with only_one(place.with_suffix(".lock")):
        for dead in place.parent.glob(f".{place.stem}-*"):
            shutil.rmtree(dead, ignore_errors=True)
        if found := cached(environment, home):
            return found
        with tempfile.TemporaryDirectory(prefix=f".{place.stem}-", dir=place.parent) as folder:
            prefix = Path(folder) / "prefix"
            try:
                asyncio.run(_install(environment, records, prefix, home, client))
            except (exceptions.InstallerError, exceptions.LinkError, exceptions.IoError, OSError) as error:
                what = conceal(str(error).replace("\nCaused by", "; caused by"), channels)
                raise UsageError(f"environment {environment.name} can't be built: {what}") from None
            prefix.mkdir(exist_ok=True)
            return _packed(prefix, place, channels, _link_scripts(prefix, records))


async def _install(
    environment: CondaEnvironment, records: Sequence[RepoDataRecord], prefix: Path, home: Home, client: Client
) -> None:
    import rattler

    await rattler.install(
        list(records),
        prefix,
        cache_dir=home.cache / "conda" / "packages",
        platform=rattler.Subdir(environment.platform),
        execute_link_scripts=False,
        show_progress=False,
        client=client,
        alternative_target_prefix=environment.folder,
    )


def _link_scripts(prefix: Path, records: Sequence[RepoDataRecord]) -> tuple[str, ...]:
    import rattler

    ordered = rattler.PackageRecord.sort_topologically(list(records))
    return tuple(
        f"{record.name.normalized}={record.version}={record.build_number}"
        for record in ordered
        if (prefix / "bin" / f".{record.name.normalized}-post-link.sh").exists()
    )


def pack_prefix(prefix: Path, environment: CondaEnvironment, target: Path) -> Archive:
    """Pack an environment of this machine whole, for the path that it will have on the nodes.

    Args:
        prefix: the environment: what conda has put there and what else lies in it.
        environment: says where it will be.
        target: the archive to make.

    Raises:
        UsageError: it is no environment, or can't be packed.

    """
    try:
        import conda_pack
    except ImportError as error:
        raise UsageError(f"a prefix is packed with conda-pack: {error}", hint="pip install conda-pack") from None
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=target.parent) as folder:
        packed, unpacked = Path(folder) / "packed.tar", Path(folder) / "prefix"
        try:
            conda_pack.pack(prefix=str(prefix), output=str(packed), dest_prefix=environment.folder, format="tar",
                            ignore_missing_files=True)  # fmt: skip
        except conda_pack.CondaPackException as error:
            raise UsageError(f"{prefix} can't be pushed: {' '.join(str(error).split())}") from None
        with tarfile.open(packed) as tar:
            # It was made a moment ago, of the user's own files; Python 3.11.2 knows no filters yet.
            tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
            tar.extractall(unpacked)  # noqa: S202
        return _packed(unpacked, target, (), ())


def _packed(prefix: Path, place: Path, channels: Sequence[Channel], scripts: tuple[str, ...]) -> Archive:
    """Pack a prefix under a temporary name, write down what is in it, and rename all when it is whole."""
    manifest: list[str] = []
    temporary = prefix.parent / "archive"
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=3, fileobj=raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(prefix.rglob("*")):
                name = path.relative_to(prefix).as_posix()
                if name not in _LEFT_OUT:
                    _add(tar, path, name, manifest, channels)
    archive = Archive(place, _sha256(temporary), "".join(sorted(f"{line}\n" for line in manifest)), scripts)
    for suffix, text in (
        (".files", archive.manifest),
        (".json", json.dumps({"sha256": archive.sha256, "link_scripts": scripts})),
    ):
        file = prefix.parent / f"about{suffix}"
        file.write_text(text)
        file.replace(place.with_suffix(suffix))
    temporary.replace(place)
    return archive


def _add(tar: tarfile.TarFile, path: Path, name: str, manifest: list[str], channels: Sequence[Channel]) -> None:
    """Add one file to the archive; nodes get files that everybody may read, none of which names this machine."""
    status = path.lstat()
    member = tarfile.TarInfo(name)
    member.mtime = int(status.st_mtime)
    if stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
        manifest.append(f"link {member.linkname}  ./{name}")
        tar.addfile(member)
    elif stat.S_ISDIR(status.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    elif stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
        if name.startswith("conda-meta/") and name.endswith(".json"):
            content = _without_client(content, channels)
        member.size, member.mode = len(content), 0o755 if status.st_mode & 0o111 else 0o644
        if "__pycache__" not in path.parts:
            manifest += [f"{hashlib.sha256(content).hexdigest()}  ./{name}", f"mode {member.mode:o}  ./{name}"]
        tar.addfile(member, io.BytesIO(content))


def _without_client(content: bytes, channels: Sequence[Channel]) -> bytes:
    about: dict[str, Any] = json.loads(content)
    kept = {key: value for key, value in about.items() if key not in _CLIENTS_OWN}
    return conceal(json.dumps(kept, indent=1, sort_keys=True), channels).encode()


def packages_of_prefix(prefix: Path) -> list[dict[str, Any]]:
    """Return what conda has written down of each package in a prefix.

    Raises:
        UsageError: it is no conda environment.

    """
    if not (prefix / "conda-meta").is_dir():
        what = "a plain virtual environment" if (prefix / "pyvenv.cfg").exists() else "no conda environment"
        raise UsageError(f"{prefix} is {what}", hint="push takes an environment.yml or a folder with conda-meta")
    return [json.loads(file.read_text()) for file in sorted((prefix / "conda-meta").glob("*.json"))]


def digest_of_prefix(prefix: Path) -> str:
    """Return what tells the content of a prefix from any other."""
    digest = hashlib.sha256()
    for path in sorted(prefix.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(prefix)} {_sha256(path)}\n".encode())
    return digest.hexdigest()[:12]


def _place(environment: CondaEnvironment, home: Home) -> Path:
    key = hashlib.sha256(environment.folder.encode()).hexdigest()[:8]
    return home.cache / "conda" / "environments" / f"{environment.name}-{environment.digest}-{key}.tgz"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
