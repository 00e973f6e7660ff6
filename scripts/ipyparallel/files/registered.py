"""Says how many engines the controller has; fails when they are fewer than expected."""

import sys

import ipyparallel

connection, expected = sys.argv[1], int(sys.argv[2])
with ipyparallel.Client(connection, timeout=20) as client:
    present = len(client.ids)
print(f"{present} of {expected} engines are registered")
sys.exit(present < expected)
