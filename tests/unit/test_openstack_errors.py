"""What OpenStack's clients raise becomes one kind of error, whichever client and however it is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import heatclient.exc
import keystoneauth1.exceptions
import novaclient.exceptions
import openstack.exceptions
import pytest

from cloudmesh_cluster.core.errors import ProviderError, UsageError
from cloudmesh_cluster.providers.openstack.explained import explained, provider_error

REFUSED = (
    "Unable to establish connection to http://192.0.2.1:8004/v1/x: HTTPConnectionPool(host='192.0.2.1', port=8004): Max"
    ' retries exceeded with url: /v1/x (Caused by NewConnectionError("<...>: [Errno 111] Connection refused"))'
)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (heatclient.exc.HTTPForbidden('{"error": {"message": "too many"}}'), "OpenStack answers 403: too many"),
        (heatclient.exc.HTTPServiceUnavailable("<html>"), "OpenStack answers 503: <html>"),
        (novaclient.exceptions.NotFound(404, "no such server"), "OpenStack answers 404: no such server"),
        (openstack.exceptions.ConflictException("in use", http_status=409), "OpenStack answers 409: in use"),
        (keystoneauth1.exceptions.Unauthorized("go away"), "OpenStack answers 401: go away"),
        (
            keystoneauth1.exceptions.ConnectFailure(REFUSED),
            "OpenStack: nothing answers at http://192.0.2.1:8004/v1/x (Connection refused)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_words(error: Exception, message: str) -> None:
    """The status and what the cloud said are in one line, without what the clients put around it."""
    told = provider_error(error)

    assert told.message.split(" (HTTP")[0] == message
    assert told.status == (int(message.split()[2].strip(":")) if "answers" in message.split()[:2] else None)
    assert "\n" not in told.message


@explained
class Asking:
    """Asks a cloud that always fails."""

    def plain(self) -> None:
        """Fail at once."""
        raise novaclient.exceptions.NotFound(404, "gone")

    async def waiting(self) -> None:
        """Fail when awaited."""
        self._ask()

    async def generating(self) -> AsyncIterator[int]:
        """Fail after the first value."""
        yield 1
        self._ask()

    def _ask(self) -> None:
        raise heatclient.exc.HTTPNotFound("gone")

    def wrong(self) -> None:
        """Fail by a mistake of our own."""
        raise KeyError("ours")

    def ours(self) -> None:
        """Fail on purpose."""
        raise UsageError("as it is")


def test_all_kinds_of_methods() -> None:
    """Plain methods, coroutines and async generators raise the same error, and yield what they did before it."""
    asking, seen = Asking(), []

    async def consume() -> None:
        async for each in asking.generating():
            seen.append(each)

    for call in (asking.plain, lambda: asyncio.run(asking.waiting()), lambda: asyncio.run(consume())):
        with pytest.raises(ProviderError, match="OpenStack answers 404"):
            call()
    assert seen == [1]


def test_what_is_not_the_clouds() -> None:
    """A mistake of our own stays one, and an error of this package is passed on as it is."""
    with pytest.raises(KeyError):
        Asking().wrong()
    with pytest.raises(UsageError, match="as it is"):
        Asking().ours()
