"""The table in docs/cluster-setup.md that says what became of each function of unified_map 1.0.0."""

from __future__ import annotations

import re
from pathlib import Path

from cloudmesh_cluster import multivariate, univariate
from tests.support.pages import section

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster-setup.md"
SERIAL = ("for_loop", "generator_expression", "generator_function", "list_comprehension", "map", "starmap")
PARALLEL = ("dask", "futures", "joblib", "multiprocessing")
DISTRIBUTED = ("dask", "spark")
_MAPS = (("serial", SERIAL), ("parallel", PARALLEL), ("distributed", DISTRIBUTED))
DOCUMENTED = {
    "cluster_setup.dask.start_scheduler(scheduler_address)",
    "cluster_setup.dask.start_worker(scheduler_address, max_memory='auto', num_cores=1)",
    "cluster_setup.dask.connect_to_scheduler(scheduler_address)",
    "cluster_setup.dask.report_status()",
    "cluster_setup.spark.start_scheduler(scheduler_address)",
    "cluster_setup.spark.start_worker(scheduler_address)",
    "cluster_setup.spark.connect_to_scheduler(scheduler_address)",
    "cluster_setup.spark.report_status(depth=None)",
    *(
        f"{kind}.{where}.{name}(function, argument_list{', num_cores=None' if where == 'parallel' else ''})"
        for kind in ("univariate", "multivariate")
        for where, names in _MAPS
        for name in names
    ),
}


def table() -> dict[str, str]:
    """Return the calls of the table: the original's, and the ones of today."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| .+ \|$", section(PAGE, "Coming from unified_map"), re.MULTILINE)
    return dict(rows)


def calls(pattern: str) -> list[str]:
    """Return the calls of today of the original's functions whose names match."""
    return [call for original, call in table().items() if re.match(pattern, original)]


def square(x: int) -> int:
    """Return a square, as in the original's examples."""
    return x**2


def add(x: int, y: int, z: int) -> int:
    """Return a sum, as in the original's examples."""
    return x + y + z


NAMES = {"univariate": univariate, "multivariate": multivariate, "square": square, "add": add}
"""What the calls of maps in the table use."""


def expected(call: str) -> list[int]:
    """Return what the call of a map in the table must return."""
    return [1, 4, 9] if "square" in call else [6, 60]
