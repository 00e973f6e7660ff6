"""One command turns machines into a verified cluster.

`from cloudmesh_cluster import Cluster` is the same from Python, `%load_ext cloudmesh_cluster` from IPython.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.core.version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from cloudmesh_cluster.api.cluster import Cluster

__all__ = ["Cluster", "__version__", "load_ipython_extension", "unload_ipython_extension"]


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for: `cm` imports this package too, and must be quick."""
    if name == "Cluster":
        from cloudmesh_cluster.api.cluster import Cluster

        return Cluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Give IPython `%cm` and `%%cm`; this is what `%load_ext cloudmesh_cluster` calls."""
    from cloudmesh_cluster.cli.ipython import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take them back; this is what `%unload_ext cloudmesh_cluster` calls."""
    from cloudmesh_cluster.cli.ipython import unload

    unload(shell)
