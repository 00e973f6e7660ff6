"""`cm profile list`, `show`, `validate`."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument

COLUMNS = ("name", "provider", "workers", "plugins", "file")
PROBLEM_COLUMNS = ("file", "where", "what", "hint")


def list_profiles(args: Namespace, session: Session) -> int:
    """Print all profiles; one that does not load is listed by its name and file."""
    from cloudmesh_cluster.config.profile import find_profiles

    session.show_rows(args, [_row(name, path) for name, path in sorted(find_profiles(session.home).items())], COLUMNS)
    return 0


def _row(name: str, path: Path) -> dict[str, Any]:
    from cloudmesh_cluster.config.profile import load_profile
    from cloudmesh_cluster.core.errors import CmError

    try:
        profile = load_profile(path)
    except CmError:  # `profile validate` says what is wrong; a list of the others is still wanted
        return {"name": name, "provider": "invalid", "file": str(path)}
    return {
        "name": name,
        "provider": profile.provider,
        "workers": profile.worker.count,
        "plugins": [use.name for use in profile.plugins],
        "file": str(path),
    }


def show(args: Namespace, session: Session) -> int:
    """Print a profile as YAML, defaults filled in."""
    from cloudmesh_cluster.config.profile import profile_named
    from cloudmesh_cluster.config.profile_yaml import plain, to_yaml

    profile = profile_named(session.home, args.name)
    session.result = plain(profile)
    sys.stdout.write(to_yaml(profile))
    return 0


def validate(args: Namespace, session: Session) -> int:
    """Print all problems of profiles; 2 when there is one."""
    from cloudmesh_cluster.config.profile import find_profiles
    from cloudmesh_cluster.config.profile import validate as problems_of
    from cloudmesh_cluster.core.errors import InvalidInput, NotFound

    known, problems = find_profiles(session.home), []
    for name in args.names:
        if name not in known and not Path(name).expanduser().exists():
            raise NotFound("profile", name, sorted(known))
        problems += problems_of(known.get(name) or Path(name).expanduser())
    if problems:
        raise InvalidInput(problems)
    sys.stdout.write("".join(f"{name}: ok\n" for name in args.names))
    return 0


COMMANDS = (
    Command("profile", "list", "list all profiles", list_profiles, columns=COLUMNS,
            examples=("profile list", "profile list -f value -c name")),
    Command(
        "profile", "show", "print a profile, defaults filled in", show, examples=("profile show hadoop",),
        arguments=(argument("name", metavar="PROFILE", completes="profile", help="a profile's name or file"),),
    ),
    Command(
        "profile", "validate", "find all problems of a profile", validate,
        examples=("profile validate hadoop", "profile validate ./my-profile.yaml"),
        arguments=(
            argument("names", nargs="+", metavar="PROFILE", completes="profile", help="profiles' names or files"),
        ),
    ),
)  # fmt: skip
