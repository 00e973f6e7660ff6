"""Plugins' settings of type `secret`: where the user gives them, where this machine keeps them, how nodes get them.

A profile holds where a secret is (`@FILE`, `env:NAME`), never the secret itself. So whatever is made of a profile, be
it a plan, the journal, a stack or a page, can't hold it either.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cloudmesh_cluster.core.errors import InvalidInput, UsageError
from cloudmesh_cluster.core.files import make_private, write_atomically
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import Problem
from cloudmesh_cluster.core.yaml_tree import Written
from cloudmesh_cluster.plugins.model import ChosenPlugin, Setting

Secrets = Mapping[tuple[str, str], str]
"""Secrets by plugin and setting."""
NONE: Secrets = {}
Ask = Callable[[str], str]
FOLDER = "_settings"
"""The folder of these secrets among those of a plugin; no secret file can have that name."""
FILE = "secrets/_settings.sh"
"""The file in a plugin's folder on the nodes; `plugin.sh` reads it where it can, as root."""


def secret_settings(chosen: ChosenPlugin) -> list[Setting]:
    """Return the settings of a plugin that are secrets."""
    return [setting for setting in chosen.plugin.settings if setting.type == "secret"]


def given_secrets(plugins: Sequence[ChosenPlugin], environ: Mapping[str, str], ask: Ask | None = None) -> Secrets:
    """Return the secrets of plugins from where the profile says that they are; the others are asked for.

    Args:
        plugins: with their settings.
        environ: the environment, for `env:NAME`.
        ask: asks the user for a secret, by the words that say which; None where nobody can be asked.

    Raises:
        InvalidInput: names all that can't be had.

    """
    secrets: dict[tuple[str, str], str] = {}
    problems = []
    for chosen in plugins:
        for setting in secret_settings(chosen):
            where = f"{chosen.plugin.name}.{setting.name}"
            try:
                value = _value(chosen.settings.get(setting.name), where, environ)
            except UsageError as error:
                problems.append(Problem(f"secret {where}", error.message))
                continue
            if value is None and not setting.optional and ask is not None:
                value = ask(f"{where} ({setting.description})")
            if value:
                secrets[chosen.plugin.name, setting.name] = value
            elif not setting.optional:
                problems.append(Problem(f"secret {where}", "is not given", f"--set {where}=@FILE, or env:NAME"))
    if problems:
        raise InvalidInput(problems)
    return secrets


def _value(given: object, where: str, environ: Mapping[str, str]) -> str | None:
    """Return the secret that a setting points to; None where nothing is set."""
    if not given:
        return None
    kind, _, name = str(given).partition(":") if str(given).startswith("env:") else ("@", "", str(given)[1:])
    if kind == "env":
        if not environ.get(name):
            raise UsageError(f"the variable {name} is not set")
        return environ[name]
    mark = given.mark if isinstance(given, Written) else None
    # Paths in a profile are relative to it, those that are typed to the current folder.
    path = (Path(mark.name).parent if mark and mark.line else Path()) / Path(name).expanduser()
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error


def keep_secrets(home: Home, cluster: str, secrets: Secrets) -> None:
    """Keep secrets with a cluster's keys, readable for their owner only."""
    for (plugin, setting), value in secrets.items():
        file = _file(home, cluster, plugin, setting)
        make_private(file.parent)
        write_atomically(file, value.encode())


def kept_secrets(home: Home, cluster: str, chosen: ChosenPlugin) -> dict[str, str]:
    """Return the secrets of a plugin of a cluster, by setting.

    Raises:
        UsageError: one that must be there is not.

    """
    values = {}
    for setting in secret_settings(chosen):
        file = _file(home, cluster, chosen.plugin.name, setting.name)
        if file.exists():
            values[setting.name] = file.read_text(encoding="utf-8")
        elif not setting.optional:
            what = f"the secret {chosen.plugin.name}.{setting.name} of cluster {cluster!r} is not kept here"
            raise UsageError(what, hint=f"write it into {file}, readable for you only")
    return values


def forget_secrets(home: Home, cluster: str, plugin: str) -> None:
    """Forget the secrets that were given for a plugin of a cluster."""
    for file in (home.secrets(cluster, plugin) / FOLDER).glob("*"):
        file.unlink()


def _file(home: Home, cluster: str, plugin: str, setting: str) -> Path:
    return home.secrets(cluster, plugin) / FOLDER / setting


def assignments(values: Mapping[str, str]) -> bytes:
    """Return settings as shell assignments."""
    return "".join(f"{variable(name)}={shlex.quote(value)}\n" for name, value in values.items()).encode()


def variable(setting: str) -> str:
    """Return the variable by which role scripts know a setting."""
    return f"CM_SETTING_{setting.upper().replace('-', '_')}"


def read_assignments(text: str, settings: Sequence[Setting]) -> dict[str, str]:
    """Return the values of some settings out of what `assignments` wrote."""
    names = {variable(setting.name): setting.name for setting in settings}
    words = [word.partition("=") for word in shlex.split(text)]
    return {names[name]: value for name, _, value in words if name in names}
