"""Adds squares, a part of them on each worker, and compares with the sum made here and the versions everywhere."""

import os
import socket

from distributed import Client


def part(numbers: range) -> tuple[str, int]:
    """Return the host's name, and the sum of the squares."""
    return socket.gethostname(), sum(number * number for number in numbers)


workers = sorted(os.environ["CM_WORKERS"].split())
with Client(timeout="20s", set_as_default=False) as client:
    present = sorted(worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
    if present != workers:
        raise SystemExit(f"workers {' '.join(present)}, expected {' '.join(workers)}")
    versions = client.get_versions(check=True)
    parts = [range(first, 10_000 * len(workers), 10 * len(workers)) for first in range(10 * len(workers))]
    futures = [
        client.submit(part, numbers, workers=[workers[number % len(workers)]], pure=False)
        for number, numbers in enumerate(parts)
    ]
    results = client.gather(futures)

hosts = sorted({host for host, _ in results})
if hosts != workers:
    raise SystemExit(f"computed on {' '.join(hosts)}, expected {' '.join(workers)}")
if sum(result for _, result in results) != sum(number * number for number in range(10_000 * len(workers))):
    raise SystemExit("the sum is wrong")
packages = versions["scheduler"]["packages"]
python = ".".join(packages["python"].split(".")[:3])
print(f"{len(results)} tasks on {len(hosts)} workers, sum right, Dask {packages['dask']} on Python {python} everywhere")
