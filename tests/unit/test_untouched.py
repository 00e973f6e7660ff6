"""An operation that fails before it has changed anything leaves its cluster as it was, with nothing to resume."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from keystoneauth1.noauth import NoAuth

from cloudmesh_cluster.core.errors import CmError, OperationFailed, ProviderError, UsageError
from cloudmesh_cluster.core.events import silent
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.operations.delete import DeleteRequest
from cloudmesh_cluster.operations.resume import resume
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.preconditions import require_cluster
from cloudmesh_cluster.operations.transaction.operation import UNTOUCHED, session
from cloudmesh_cluster.providers.openstack.patience import PatientSession
from cloudmesh_cluster.state.store import State
from tests.support.journalled import add_cluster

Body = Callable[[Session], None]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a home with a cluster `t` that is ready."""
    made = Home(tmp_path / "home", tmp_path / "cache")
    add_cluster(made, "t")
    return made


def fail(home: Home, kind: str, body: Body, error: CmError) -> None:
    """Run an operation on `t` that does something and then fails."""

    async def work() -> None:
        async with session(home, "t", kind, DeleteRequest(), emit=silent) as current:
            body(current)
            raise error

    asyncio.run(work())


def begin(current: Session) -> None:
    """Write down what is about to be done, as a delete does; nothing is done yet."""
    current.state.set_cluster_state("t", "deleting")
    current.journal.state.begin_step(current.journal.operation.id, "destroy", None)


def finish_a_step(current: Session) -> None:
    """Do something."""
    begin(current)
    with current.journal.step("destroy"):
        pass


@pytest.mark.parametrize("kind", ["delete", "stop", "start", "scale"])
@pytest.mark.parametrize("error", [ProviderError("no answer"), UsageError("the credentials are refused")])
def test_what_touched_nothing_changes_no_state(home: Home, kind: str, error: CmError) -> None:
    """The cluster is as ready as before, and the history says that nothing was changed: nothing can be resumed."""
    with pytest.raises(CmError, match=error.message):
        fail(home, kind, begin, error)

    with State(home) as state:
        assert state.cluster("t").state == "ready"
        assert state.operations("t")[-1].state == UNTOUCHED
        require_cluster("t", states=("ready",))(state)
    with pytest.raises(UsageError, match="nothing to resume"):
        asyncio.run(resume(home, "t", silent))


def test_what_touched_something_is_failed(home: Home) -> None:
    """After a step was done the cluster is failed, and the hint says which operation resume would go on with."""
    with pytest.raises(OperationFailed):
        fail(home, "stop", finish_a_step, ProviderError("no answer"))

    with State(home) as state, pytest.raises(UsageError, match="is failed, not ready") as refused:
        require_cluster("t", states=("ready",))(state)
    assert "cm cluster resume t goes on with its stop" in refused.value.hint


def test_a_delete_is_not_resumed_unasked(home: Home) -> None:
    """Nobody loses a cluster by a resume: a delete goes on only where that was said."""
    with pytest.raises(OperationFailed):
        fail(home, "delete", finish_a_step, ProviderError("no answer"))

    with State(home) as state, pytest.raises(UsageError) as refused:
        require_cluster("t", states=("ready",))(state)
    assert "goes on deleting it" in refused.value.hint
    with pytest.raises(UsageError, match="resume would go on deleting cluster 't'"):
        asyncio.run(resume(home, "t", silent))
    with State(home) as state:
        assert state.cluster_names() == ["t"]


@pytest.fixture
def service() -> Iterator[str]:
    """Yield the URL of a service that answers with the status that the path says."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.send_response(int(self.path.strip("/")))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (http.server's names)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("method", "status", "changed"),
    [
        ("GET", 200, False),
        ("POST", 201, True),
        ("POST", 202, True),
        ("POST", 401, False),
        ("POST", 409, False),
        ("POST", 500, True),
        ("DELETE", 204, True),
        ("DELETE", 404, False),
    ],
)
def test_a_session_knows_whether_it_changed_something(service: str, method: str, status: int, changed: bool) -> None:
    """What only looks, logs in or is refused changes nothing; what failed inside a service may have."""
    session = PatientSession(auth=NoAuth(endpoint=service))
    session.request(f"{service}/200", "POST", authenticated=False)
    assert not session.changed

    session.request(f"{service}/{status}", method, raise_exc=False)

    assert session.changed is changed
