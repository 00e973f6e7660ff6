"""All commands of `cm`."""

from __future__ import annotations

from cloudmesh_cluster.cli import completion
from cloudmesh_cluster.cli.commands import (
    about,
    bundle,
    cluster_life,
    cluster_look,
    cluster_reach,
    cluster_services,
    conda,
    gc,
    plugin,
    profile,
    provider,
    report,
    schedulers,
)
from cloudmesh_cluster.cli.tree import Tree

TREE = Tree(
    objects={
        "cluster": "make, use and remove clusters",
        "conda": "environments, the same on every node",
        "bundle": "what a profile needs, for where there is no network",
        "profile": "what clusters can be made of",
        "plugin": "what clusters can run",
        "provider": "where nodes can come from",
        "dask": "run a Dask scheduler or worker here, see those of one",
        "spark": "run a Spark scheduler or worker here, see those of one",
        "gc": "find what was made for clusters that are not known any more",
        "info": "show what this installation is and where it keeps things",
        "doctor": "write one archive with all that support needs, without secrets",
        "completion": "print what makes bash, zsh or fish complete cm",
        "run_script": "run the lines of a file, up to the first that fails",
    },
    commands=(
        *cluster_life.COMMANDS,
        *cluster_look.COMMANDS,
        *cluster_reach.COMMANDS,
        *cluster_services.COMMANDS,
        *conda.COMMANDS,
        *bundle.COMMANDS,
        *report.COMMANDS,
        *profile.COMMANDS,
        *plugin.COMMANDS,
        *provider.COMMANDS,
        *schedulers.COMMANDS,
        *gc.COMMANDS,
        *about.COMMANDS,
        *completion.COMMANDS,
    ),
)
