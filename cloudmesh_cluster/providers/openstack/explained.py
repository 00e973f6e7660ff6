"""What OpenStack's clients raise, in words: one place for Keystone, Heat, Nova, Neutron and Glance."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from cloudmesh_cluster.core.errors import CmError, ProviderError

CLIENTS = ("keystoneauth1", "heatclient", "novaclient", "openstack")
T = TypeVar("T", bound=type)
_NO_CONNECTION = re.compile(
    r"Unable to establish connection to (?P<url>\S+): .*?\[Errno -?\d+\] (?P<reason>[^\"')]+).*"
)


@contextmanager
def in_words() -> Iterator[None]:
    """Turn whatever a client of OpenStack raises into what this package raises.

    Raises:
        ProviderError: says what the cloud answered, where, and what to type next.

    """
    try:
        yield
    except CmError:
        raise
    except Exception as error:  # the clients' errors share no base; what is not theirs is raised as it is
        if type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        raise provider_error(error) from error


def provider_error(error: Exception) -> ProviderError:
    """Return an error of a client as one of ours."""
    status = _status(error)
    if status is None:
        return ProviderError(f"OpenStack: {said(error)}", hint=_hint_without_answer(error))
    return ProviderError(f"OpenStack answers {status}: {said(error)}", hint=_HINTS.get(status, ""), status=status)


_HINTS = {
    401: "are the credentials still valid? openstack token issue",
    403: "the project may not do this, or a limit is reached: openstack limits show --absolute",
    429: "the cloud asks for fewer requests: try again later",
    500: "the service failed inside; try again, or show its operator this line",
    502: "the service is not there for the moment: try again later",
    503: "the service is not there for the moment: try again later",
    504: "the service did not answer in time: try again later",
}


def _hint_without_answer(error: Exception) -> str:
    kind = type(error).__name__
    if "Endpoint" in kind or "Catalog" in kind:
        return "which services the cloud has: openstack catalog list"
    return "is it up, and is the way there open? openstack token issue"


def _status(error: Exception) -> int | None:
    """Return the HTTP status that an error stands for; each client has a name of its own for it."""
    for name in ("http_status", "status_code", "code"):
        if isinstance(value := getattr(error, name, None), int) and value >= 400:
            return value
    return None


def said(error: Exception) -> str:
    """Return the message of a client's error on one line, without what the clients put around it."""
    body = getattr(error, "error", None)  # heatclient's: the parsed answer
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        message = str(body["error"].get("message") or body.get("explanation") or "")
    else:
        message = str(getattr(error, "details", None) or error)
    message = " ".join(message.split()).removeprefix("ERROR: ")
    message = re.sub(r" \(HTTP \d+\)| \(Request-ID: [^)]*\)", "", message)
    if found := _NO_CONNECTION.fullmatch(message):
        return f"nothing answers at {found['url']} ({found['reason']})"
    return message or type(error).__name__


def explained(cls: T) -> T:
    """Return a class whose public methods raise no client's error, only those of this package."""
    for name, member in list(vars(cls).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(cls, name, _explained(member))
    return cls


def _explained(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def generate(*args: Any, **keywords: Any) -> AsyncIterator[Any]:
            with in_words():
                async for each in function(*args, **keywords):
                    yield each

        return generate
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wait(*args: Any, **keywords: Any) -> Any:
            with in_words():
                return await function(*args, **keywords)

        return wait

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        with in_words():
            return function(*args, **keywords)

    return call
