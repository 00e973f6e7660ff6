"""What a Dask scheduler answers, as a `Status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.cluster_setup.address import parse_address
from cloudmesh_cluster.cluster_setup.status import Status, WorkerStatus, differences

if TYPE_CHECKING:
    from distributed import Client

NOT_THE_SCHEDULERS_BUSINESS = ("numpy", "pandas", "msgpack")  # it moves data and never looks inside


def status_of(client: Client) -> Status:
    """Ask the scheduler of a connected client.

    Raises:
        OSError: it does not answer.

    """
    identity: dict[str, Any] = client.sync(client.scheduler.identity)
    prefixes: dict[str, dict[str, int]] = client.sync(client.scheduler.get_task_prefix_states)
    at_work: Mapping[str, Any] = client.processing()
    versions: dict[str, Any] = client.get_versions()
    here = _packages(versions["client"])
    workers = {address: _packages(answer) for address, answer in versions["workers"].items()}
    tasks: Counter[str] = Counter()
    for states in prefixes.values():
        tasks.update(states)
    nodes = {str(found["name"]): workers.get(address, {}) for address, found in identity["workers"].items()}
    scheduler = _packages(versions["scheduler"])
    nodes["the scheduler"] = {p: v for p, v in scheduler.items() if p not in NOT_THE_SCHEDULERS_BUSINESS}
    return Status(
        system="Dask",
        scheduler=identity["address"],
        dashboard=_dashboard(identity),
        workers=tuple(
            _worker(found, len(at_work.get(address, ())), workers.get(address, {}))
            for address, found in sorted(identity["workers"].items(), key=lambda item: str(item[1]["name"]))
        ),
        tasks={state: number for state, number in tasks.items() if number},
        versions=here,
        differences=differences(here, nodes),
    )


def _worker(found: Mapping[str, Any], tasks: int, versions: Mapping[str, str]) -> WorkerStatus:
    return WorkerStatus(
        worker=str(found["name"]),
        host=found["host"],
        state=found["status"],
        cores=found["nthreads"],
        memory=found["memory_limit"] or 0,
        used=found["metrics"].get("memory", 0),
        tasks=tasks,
        versions=versions,
    )


def _dashboard(identity: Mapping[str, Any]) -> str:
    port = identity["services"].get("dashboard")
    host = parse_address(identity["address"], ("tcp", "tls")).page_host
    return f"http://{host}:{port}/status" if port else ""


def _packages(answer: Mapping[str, Any]) -> dict[str, str]:
    return {package: str(version or "") for package, version in answer["packages"].items()}
