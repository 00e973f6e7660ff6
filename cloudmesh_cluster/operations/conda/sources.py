"""What `cm conda push` takes: an environment.yml, which is solved again, or a prefix, which goes as it is."""

from __future__ import annotations

from pathlib import Path

from cloudmesh_cluster.conda.archives import packages_of_prefix
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.yaml_reader import Source
from cloudmesh_cluster.operations.conda.change import EnvironmentRequest


def read_pushed(
    source: str, environment: str | None, *, channels: tuple[str, ...] = (), target: str | None = None
) -> EnvironmentRequest:
    """Return what to do to have a local environment on nodes.

    Args:
        source: the file or the folder.
        environment: what it is to be called; None is as the file says, or as the folder is called.
        channels: where to look first.
        target: which nodes; None for all.

    Raises:
        UsageError: it is neither.
        InvalidInput: names all problems of the file.

    """
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        packages_of_prefix(path)
        return EnvironmentRequest("push", environment or path.name, (), (), target, str(path))
    if not path.is_file():
        raise UsageError(f"{source}: no such file or folder", hint="environment.yml, or an environment's folder")
    file = Source.read(path)
    name = file["name"].text(path.stem)
    own = tuple(word for word in file["channels"].texts() if word != "nodefaults")
    specs = file["dependencies"].required().texts()
    file["prefix"].text("")
    file.finish(hint="pip packages have no digest in a lock: ask for conda's, or push a prefix that holds them")
    if not specs:
        raise UsageError(f"{source}: no dependencies", hint="dependencies: [python=3.11]")
    return EnvironmentRequest("push", environment or name, specs, (*channels, *own), target)
