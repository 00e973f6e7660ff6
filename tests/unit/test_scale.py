"""What `scale` works out before it has the cluster to itself. No node is needed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.events import silent
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations import scale
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.state.store import State
from tests.support.journalled import add_cluster


def test_a_growth_overtaken_by_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that came between the look and the lock are not added once more, so that no undo can destroy them."""
    home = Home(tmp_path / "home", tmp_path / "cache")
    cluster = add_cluster(home, "t", workers=2)
    third = replace(cluster.workers[-1], name="t-worker-3", index=3)

    def overtaken(*words: Any, **options: Any) -> Any:
        with State(home) as state:
            state.put_nodes("t", [third])
        return session(*words, **options)

    monkeypatch.setattr(scale, "session", overtaken)
    with pytest.raises(UsageError, match="changed meanwhile"):
        asyncio.run(scale.scale(home, "t", "+1", silent))
    with State(home) as state:
        assert third in state.cluster("t").nodes
        assert [] == state.operations("t")
