"""`cm cluster create --dry-run --output DIR`: the stack as files, for whoever wants to make it without `cm`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import write_atomically
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.marks import Marks
from cloudmesh_cluster.nodes.keys import bootstrap_comment, generate, login_comment, write_private
from cloudmesh_cluster.nodes.scripts import digest
from cloudmesh_cluster.operations.journal import new_operation
from cloudmesh_cluster.operations.plan import Plan
from cloudmesh_cluster.operations.steps.boot import make_boot
from cloudmesh_cluster.operations.steps.description import ScriptName, describe
from cloudmesh_cluster.providers import provider_of

TEMPLATE, ENVIRONMENT, KEY, PUBLIC_KEY = "template.yaml", "env.yaml", "id_ed25519", "id_ed25519.pub"


@dataclass(frozen=True)
class TemplateFiles:
    """The files that were written, and the line that makes a stack of them."""

    folder: Path
    command: str


def write_template_files(home: Home, plan: Plan, folder: Path) -> TemplateFiles:
    """Write the template of a plan's stack, its parameters, and a fresh key pair that opens its nodes.

    Args:
        home: not changed.
        plan: of a cluster on OpenStack; the cloud is asked for what its settings leave open, and left as it is.
        folder: made when it is missing; none of the files may be there.

    Raises:
        UsageError: the provider knows no templates, a file is there, or the folder can't be written to.

    """
    from cloudmesh_cluster.providers.openstack.provider import OpenStackProvider

    provider = provider_of(home, plan.provider_type, plan.provider_settings)
    if not isinstance(provider, OpenStackProvider):
        raise UsageError(
            f"--output: provider {plan.provider} makes no stack, so it has no template", hint="--provider openstack"
        )
    _refuse_existing(folder)
    operation = new_operation(plan.cluster, "create", "{}").id
    login, bootstrap = generate(login_comment(plan.cluster)), generate(bootstrap_comment(operation))
    text, parameters = provider.rendered(
        make_boot(
            cluster=plan.cluster,
            operation=operation,
            profile=plan.profile,
            network=plan.network,
            nodes=plan.nodes,
            booted=plan.nodes,
            login_public_key=login.public,
            bootstrap=bootstrap,
            signal=provider.signal,
            host_keys_signal=provider.host_keys_signal,
            description=describe(
                plan.profile,
                provider_settings=plan.provider_settings,
                network=plan.network,
                scripts=[ScriptName(each.role, each.name, digest(each.content)) for each in plan.profile.scripts],
                bootstrap_keys=[bootstrap.public],
                cluster_id=plan.cluster_id,
                home=home,
            ),
            cluster_id=plan.cluster_id,
        )
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / KEY, login.private)
        write_atomically(folder / PUBLIC_KEY, f"{login.public}\n".encode())
        write_atomically(folder / ENVIRONMENT, _environment(parameters))
        write_atomically(folder / TEMPLATE, text.encode("ascii"))
    except OSError as error:
        raise UsageError(f"--output {folder}: {error.strerror}", hint="a folder that you can write to") from error
    marks = Marks(plan.cluster, plan.cluster_id)
    words = ["-t", str(folder / TEMPLATE), "-e", str(folder / ENVIRONMENT), "--tags", ",".join(marks.tags)]
    return TemplateFiles(folder, shlex.join(["openstack", "stack", "create", "--wait", *words, marks.stack]))


def _refuse_existing(folder: Path) -> None:
    there = [name for name in (TEMPLATE, ENVIRONMENT, KEY, PUBLIC_KEY) if (folder / name).exists()]
    if there:
        raise UsageError(f"--output {folder}: {', '.join(there)} is there already", hint="name an empty folder")


def _environment(parameters: Mapping[str, str]) -> bytes:
    """Return an environment of Heat's."""
    import yaml

    def represent(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks, as people do."""

    Dumper.add_representer(str, represent)
    return yaml.dump({"parameters": dict(parameters)}, Dumper=Dumper, sort_keys=False, width=1_000_000).encode("ascii")
