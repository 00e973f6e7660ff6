"""The read-only layers below every node's disk: built once, cached, shared by all clusters of a user."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from cloudmesh_cluster.providers.local.engine import rootfs, syscalls, tuning, userns
from cloudmesh_cluster.providers.local.engine.errors import EngineError
from cloudmesh_cluster.providers.local.engine.ids import Ids
from cloudmesh_cluster.providers.local.engine.launch import no_space, run_inside

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "cloud-init",
    "curl",
    "iproute2",
    "iputils-ping",
    "less",
    "netcat-openbsd",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
)
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")

Progress = Callable[[str], None]
Build = Callable[[str], None]


def silent(line: str) -> None:
    """Listen to no progress."""


def images_folder(cache: Path) -> Path:
    """Return the folder of all layers below the cache folder; it is made when it's not there."""
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    return folder


def ensure_base(
    cache: Path,
    *,
    ids: Ids,
    source: Path | None = None,
    mirror: str | None = None,
    progress: Progress = silent,
) -> tuple[Path, ...]:
    """Return the layers of the base image, topmost first; what is not in the cache is built.

    Args:
        cache: the cache folder.
        ids: the ids that own the files (`ids_of_this_user()`).
        source: a tarball of a root file system to take instead of building one with mmdebstrap.
        mirror: an apt mirror for mmdebstrap instead of its default.
        progress: told in single lines what goes on.

    Raises:
        EngineError: mmdebstrap is missing or failed, the tarball is corrupt, or the disk is full.

    """
    recipe = _tarball_recipe(source) if source else {"suite": SUITE, "packages": PACKAGES, "mirror": mirror}

    def build(name: str) -> None:
        if source:
            _unpack(cache, name, ids=ids, source=source, progress=progress)
        else:
            _bootstrap(cache, name, ids=ids, mirror=mirror, progress=progress)

    base = _ensure(cache, "base", [recipe, asdict(ids)], ids=ids, build=build)
    return (_ensure_tuning(cache, base, ids=ids), base)


def ensure_layer(
    cache: Path,
    base: tuple[Path, ...],
    packages: Sequence[str],
    *,
    ids: Ids,
    progress: Progress = silent,
) -> tuple[Path, ...]:
    """Return `base` with a layer on top that has Debian packages installed; it is built when not cached.

    Raises:
        EngineError: apt failed (the message ends with what it said), or the disk is full.

    """
    wanted = sorted(set(packages))
    if not wanted:
        return base
    lower = [str(layer.relative_to(images_folder(cache))) for layer in base]

    def build(name: str) -> None:
        progress(f"installing {' '.join(wanted)} into a layer of the node image (once)")
        arguments = {"name": name, "lower": lower, "packages": wanted, "options": apt_proxies()}
        try:
            _job(_install_packages, arguments, cache=cache, ids=ids, progress=progress)
        except EngineError as error:
            raise EngineError(f"packages can't be installed: {error}", error.hint) from error

    return (_ensure(cache, "layer", [lower, wanted, asdict(ids)], ids=ids, build=build), *base)


def _ensure(cache: Path, kind: str, key: object, *, ids: Ids, build: Build) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    images = images_folder(cache)
    final = images / f"{kind}-{digest}"
    if final.is_dir():
        return final / "rootfs"
    with _lock(images / f".{kind}-{digest}.lock"):
        if not final.is_dir():
            unfinished = images / f".{kind}-{digest}.unfinished"
            _remove(cache, unfinished, ids=ids)
            try:
                _make_owned(unfinished, ids)
                build(unfinished.name)
            except BaseException:
                _remove(cache, unfinished, ids=ids)
                raise
            unfinished.rename(final)
    return final / "rootfs"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_owned(folder: Path, ids: Ids) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    for name in ("rootfs", "work"):
        (folder / name).mkdir(mode=0o755)
        (folder / name).chmod(0o755)
        os.chown(folder / name, *ids.root)


def _remove(cache: Path, folder: Path, *, ids: Ids) -> None:
    if folder.is_dir():
        paths = [f"{userns.ANCHOR}/images/{folder.name}/{name}" for name in ("rootfs", "work")]
        with contextlib.suppress(EngineError):
            _job(rootfs.remove_inside, {"paths": paths}, cache=cache, ids=ids, progress=silent)
        shutil.rmtree(folder)


def _job(job: Callable[..., None], arguments: dict[str, object], *, cache: Path, ids: Ids, progress: Progress) -> None:
    run_inside(job, arguments, ids=ids, folders={"images": images_folder(cache)}, on_line=progress)


# --- the base --------------------------------------------------------------------------------------------------


def _tarball_recipe(source: Path) -> dict[str, object]:
    try:
        status = source.stat()
    except OSError as error:
        raise EngineError(f"the image {source} can't be read: {error.strerror}") from error
    return {"tarball": str(source.resolve()), "size": status.st_size, "time": status.st_mtime_ns}


def _bootstrap(cache: Path, name: str, *, ids: Ids, mirror: str | None, progress: Progress) -> None:
    if shutil.which("mmdebstrap", path=userns.PATH) is None:
        raise EngineError(
            "mmdebstrap is missing, which builds the image of the nodes",
            "apt-get install mmdebstrap; or give the tarball of an image",
        )
    progress("building the image of the nodes with mmdebstrap (once)")
    try:
        _job(_debian, {"name": name, "mirror": mirror}, cache=cache, ids=ids, progress=progress)
    except EngineError as error:
        raise EngineError(f"the image of the nodes can't be built: {error}", error.hint) from error


def _debian(*, name: str, mirror: str | None) -> None:
    target = f"{userns.ANCHOR}/images/{name}/rootfs"
    words = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    words += ["--skip=chroot/mount/sys", "--dpkgopt=force-unsafe-io", '--aptopt=APT::Install-Recommends "false"']
    words += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    subprocess.run([*words, SUITE, target, *([mirror] if mirror else [])], check=True)
    _forget_identity(target)


def _unpack(cache: Path, name: str, *, ids: Ids, source: Path, progress: Progress) -> None:
    progress(f"unpacking {source}")
    with source.open("rb") as tarball:
        try:
            run_inside(
                _untar,
                {"name": name},
                ids=ids,
                folders={"images": images_folder(cache)},
                stdin=tarball,
                on_line=progress,
            )
        except EngineError as error:
            hint = error.hint or "give a complete tarball of a Debian root file system"
            raise EngineError(f"the image {source} can't be unpacked: {error}", hint) from error


def _untar(*, name: str) -> None:
    target = f"{userns.ANCHOR}/images/{name}/rootfs"
    with tempfile.TemporaryFile() as plain:
        del plain
    words = ["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--exclude=./dev/*"]
    subprocess.run([*words, "--file=-", f"--directory={target}", *_decompressor()], check=True)
    if not Path(target, "usr/sbin/sshd").exists():
        raise EngineError("it has no usr/sbin/sshd", "")
    _forget_identity(target)


def _decompressor() -> list[str]:
    # tar can't seek in standard input to find the compression out by itself.
    magic = os.pread(0, 6, 0)
    for start, option in ((b"\x1f\x8b", "--gzip"), (b"\xfd7zXZ", "--xz"), (b"\x28\xb5\x2f\xfd", "--zstd")):
        if magic.startswith(start):
            return [option]
    return []


def _forget_identity(target: str) -> None:
    for key in Path(target, "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    Path(target, "etc/machine-id").write_text("", encoding="utf-8")


# --- what makes a node of it -----------------------------------------------------------------------------------


def _ensure_tuning(cache: Path, base: Path, *, ids: Ids) -> Path:
    files = tuning.files()

    def build(name: str) -> None:
        with tempfile.TemporaryFile() as listing:
            listing.write(json.dumps(files).encode())
            listing.seek(0)
            folders = {"images": images_folder(cache)}
            run_inside(_write_files, {"name": name}, ids=ids, folders=folders, stdin=listing)

    del base
    return _ensure(cache, "tuning", [files, asdict(ids)], ids=ids, build=build)


def _write_files(*, name: str) -> None:
    os.umask(0o022)
    root = Path(userns.ANCHOR, "images", name, "rootfs")
    for path, (mode, content) in json.load(os.fdopen(0, "rb")).items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        file.chmod(mode)


# --- packages on top -------------------------------------------------------------------------------------------


def apt_proxies() -> list[str]:
    """Return the proxies that this machine's apt is told to use, as options for apt-get."""
    program = shutil.which("apt-config", path=userns.PATH)
    if program is None:
        return []
    dump = subprocess.run([program, "dump", "--no-empty"], capture_output=True, text=True, check=False).stdout
    return tuning.proxy_options(dump.splitlines())


def _install_packages(*, name: str, lower: list[str], packages: list[str], options: list[str]) -> None:
    images = f"{userns.ANCHOR}/images"
    layer = f"{images}/{name}"
    root = userns.MOUNT_POINT
    lowest = [f"{images}/{path}" for path in lower]
    rootfs.mount_layers(root, lower=lowest, upper=f"{layer}/rootfs", work=f"{layer}/work")
    rootfs.mount_kernel_views(root)
    resolver = os.path.realpath("/etc/resolv.conf")
    syscalls.mount(resolver, f"{root}/etc/resolv.conf", flags=syscalls.MS_BIND)
    os.chroot(root)
    os.chdir("/")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    os.environ["HOME"] = "/root"
    apt = ["apt-get", "--quiet", "--yes", *(word for option in options for word in ("-o", option))]
    subprocess.run(["update-ca-certificates"], check=True)
    subprocess.run([*apt, "-o", "APT::Update::Error-Mode=any", "update"], check=True)
    subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True)
    subprocess.run(["apt-get", "clean"], check=True)
    for entry in Path("/var/lib/apt/lists").iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


__all__ = ["apt_proxies", "ensure_base", "ensure_layer", "images_folder", "no_space"]
