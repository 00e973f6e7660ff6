"""Profiles: where they are found, how they are loaded, and what command-line options change in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cloudmesh_cluster.config.profile_schema import MOST_WORKERS, read_profile
from cloudmesh_cluster.config.profile_yaml import plain
from cloudmesh_cluster.core.errors import NotFound, UsageError, did_you_mean
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Problem, Profile, RoleSpec
from cloudmesh_cluster.core.yaml_reader import Source
from cloudmesh_cluster.core.yaml_tree import Mark, Written

_BUILT_IN = Path(__file__).resolve().parents[1] / "profiles"
ALIKE = 0.75
"""How alike a word and a profile's name must be, of 1, for the word to be taken for a misspelt one."""
_SETTABLE = ("provider", "user", "mesh", "listen_to", "roles")
_READ_FROM_FILES = ("scripts", "template")
_LISTS = ("plugins", "scripts", "checks")


def find_profiles(home: Home) -> dict[str, Path]:
    """Return all profiles by name: the built-in ones, and the user's, which win."""
    return {
        path.stem: path
        for folder in (_BUILT_IN, home.profiles)
        for path in sorted(folder.glob("*.y*ml"))
        if path.suffix in {".yaml", ".yml"} and not path.name.startswith(".")
    }


def profile_named(home: Home, name: str) -> Profile:
    """Return a profile by its name; a word with a slash or the suffix `.yaml` is the path of a file.

    Raises:
        NotFound: there is no such profile.
        InvalidInput: its file has problems.

    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        return load_profile(Path(name).expanduser())
    known = find_profiles(home)
    if name not in known:
        raise NotFound("profile", name, sorted(known))
    return _load(known[name], called=name)


def profile_for(home: Home, name: str | None, *, cluster: str) -> Profile:
    """Return the profile `name`; without one that of the cluster's name, or else `default`.

    Raises:
        NotFound: there is no profile `name`.
        InvalidInput: its file has problems.

    """
    if name is None:
        name = cluster if cluster in find_profiles(home) else "default"
    return profile_named(home, name)


def near_profile(home: Home, cluster: str) -> str:
    """Return the profile that a cluster's name may mean although none is called so (`hadop`, `my-hadoop`), or ""."""
    known = [name for name in find_profiles(home) if name != "default"]
    if cluster in find_profiles(home):
        return ""
    parts = [word for word in cluster.split("-") if word in known]
    close = get_close_matches(cluster, known, n=1, cutoff=ALIKE)
    return next(iter([*parts, *close]), "")


def load_profile(path: Path) -> Profile:
    """Return the profile that a file holds; it is named after the file unless it says otherwise.

    Raises:
        InvalidInput: with all problems of the file.

    """
    return _load(path, called="")


def validate(path: Path) -> list[Problem]:
    """Return all problems of a profile's file."""
    source = Source.read(path)
    read_profile(source, folder=path.parent, default_name=path.stem)
    return source.problems


def with_overrides(
    profile: Profile,
    *,
    provider: str | None = None,
    workers: int | None = None,
    image: str | None = None,
    flavor: str | None = None,
    settings: Sequence[str] = (),
) -> Profile:
    """Return the profile with what the command line says instead.

    Args:
        profile: what to start from.
        provider: `--provider`.
        workers: `-n`.
        image: `--image`, for both roles.
        flavor: `--flavor`, for both roles.
        settings: `--set`, each `PLUGIN.SETTING=VALUE` or `PROFILE.PATH=VALUE`; an empty value unsets.

    Raises:
        UsageError: a setting is malformed, unknown or of the wrong type, or `workers` is out of range.

    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"-n {workers}: a cluster has 1 to {MOST_WORKERS} workers", hint="for example -n 3")
    changed = _with_settings(profile, settings) if settings else profile
    count = changed.worker.count if workers is None else workers
    return replace(
        changed,
        provider=changed.provider if provider is None else provider,
        master=_sized(changed.master, image=image, flavor=flavor),
        worker=_sized(replace(changed.worker, count=count), image=image, flavor=flavor),
    )


def _sized(spec: RoleSpec, *, image: str | None, flavor: str | None) -> RoleSpec:
    return replace(
        spec,
        image=spec.image if image is None else image,
        flavor=spec.flavor if flavor is None else flavor,
    )


def _with_settings(profile: Profile, settings: Sequence[str]) -> Profile:
    data = plain(profile)
    for name in _READ_FROM_FILES:
        data.pop(name, None)
    plugins: dict[str, dict[str, Any]] = {use.name: dict(use.settings) for use in profile.plugins}
    for setting in settings:
        path, value = _split(setting)
        if path[0] in plugins:
            _set(plugins[path[0]], path[1:], value, setting)
        elif path[0] in _SETTABLE:
            _set(data, path, value, setting)
        else:
            raise _unknown(path[0], profile, setting)
    data["plugins"] = [{name: given} for name, given in plugins.items()]
    source = Source.of_plain(data, name=profile.source)
    changed = read_profile(source, folder=Path(), default_name=profile.name)
    source.finish()
    return replace(changed, scripts=profile.scripts, template=profile.template)


def _split(setting: str) -> tuple[list[Written], Written | None]:
    key, equals, value = setting.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise UsageError(f"--set {setting}: expected KEY=VALUE", hint="for example --set roles.worker.memory=2G")
    mark = Mark(0, 0, f"--set {setting}")
    return [Written(word, mark) for word in path], Written(value, mark) if value else None


def _set(data: dict[str, Any], path: Sequence[Written], value: Written | None, setting: str) -> None:
    if not path:
        raise UsageError(f"--set {setting}: names a plugin but no setting of it", hint="PLUGIN.SETTING=VALUE")
    for word in path[:-1]:
        below = data.get(word)
        data[word] = dict(below) if isinstance(below, Mapping) else {}
        data = data[word]
    data.pop(path[-1], None)
    data[path[-1]] = value


def _unknown(word: str, profile: Profile, setting: str) -> UsageError:
    if word in _LISTS or word == "name":
        return UsageError(f"--set {setting}: {word} can't be set here", hint="write a profile of your own")
    known = [*(use.name for use in profile.plugins), *_SETTABLE]
    what = f"--set {setting}: {word!r} is neither a plugin of profile {profile.name!r} nor one of its keys"
    return UsageError(what, hint=did_you_mean(word, known))


def _load(path: Path, *, called: str) -> Profile:
    source = Source.read(path)
    profile = read_profile(source, folder=path.parent, default_name=path.stem)
    if called and profile.name != called:
        source["name"].report(f"expected {called!r} as the file is called, got {profile.name!r}", hint="leave it out")
    source.finish()
    return profile
