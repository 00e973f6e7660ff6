"""A sample of `make faults`: what is cut off, twice at that, is finished by `resume` or removed by `delete`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import conda, cuts, nodes
from tests.faults.case import Case, carry_out

NAMES = (
    *(pair.name for pair in cuts.SAMPLE),
    "create: this machine rebooted",
    "conda create: KILL after 'build e ...'",
)
SAMPLE = tuple(case for case in (*cuts.CASES, *nodes.CASES, *conda.CASES) if case.name in NAMES)


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_nothing_is_left_and_nothing_is_false(case: Case, cm_cache: Path) -> None:
    """A fault leaves nothing behind, nothing is called ready that is not, and it ends as it should."""
    row = carry_out(case, cm_cache)

    assert row.good, row
