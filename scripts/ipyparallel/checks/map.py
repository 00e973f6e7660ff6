"""Adds squares, a part of them on each engine, and compares with the sum made here, and with the engines there are."""

import sys
from collections import Counter

import ipyparallel

connection, engines, workers = sys.argv[1], int(sys.argv[2]), sorted(sys.argv[3:])


def square(number: int) -> tuple[str, int, int]:
    """Return the host's name, the process, and the square; imports are the engine's."""
    import os
    import socket

    return socket.gethostname(), os.getpid(), number * number


with ipyparallel.Client(connection, timeout=20) as client:
    numbers = range(10 * len(client.ids))
    results = client[:].map_sync(square, numbers)

processes = Counter(host for host, _ in {(host, process) for host, process, _ in results})
if processes != dict.fromkeys(workers, engines):
    raise SystemExit(f"computed by {dict(processes)}, expected {engines} engines on each of {' '.join(workers)}")
if sum(result for _, _, result in results) != sum(number * number for number in numbers):
    raise SystemExit("the sum is wrong")
print(f"{len(results)} tasks on {processes.total()} engines of {len(workers)} workers, sum right")
