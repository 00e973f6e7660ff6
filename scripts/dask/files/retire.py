"""Lets workers hand their data to the others and leave; those that the scheduler does not know are gone already."""

import sys

from distributed import Client

with Client(timeout="20s", set_as_default=False) as client:
    known = {worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
    leaving = [name for name in sys.argv[1:] if name in known]
    if leaving:
        client.retire_workers(names=leaving, close_workers=False, remove=True)
    print("retired:", *(leaving or ["nobody"]))
