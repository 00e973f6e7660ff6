"""A proxy in front of a real service that now and then answers as a service in trouble does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

PASSED_ON = (
    "X-Auth-Token", "Content-Type", "Accept", "User-Agent", "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"
)  # fmt: skip
TROUBLE = b'{"error": {"message": "in trouble"}}'
Fault = Callable[[str, str], int]
"""Takes the method and the path of a request; returns the status to answer, or 0 to pass it on."""


@dataclass
class Proxy:
    """A running proxy: where it listens, what it has answered by itself, and the tokens that it was shown."""

    url: str
    answered: list[int] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)


@contextmanager
def faulty_proxy(
    target: str, fault: Fault = lambda method, path: 0, *, rewrite: Callable[[str], str] = lambda path: path
) -> Iterator[Proxy]:
    """Pass requests on to a service, except where there is a fault.

    Args:
        target: the service's URL, without a slash at its end.
        fault: says what is wrong with a request.
        rewrite: returns the path that is asked for instead of a request's.

    """

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if token := self.headers.get("X-Auth-Token"):
                proxy.tokens.add(token)
            if status := fault(self.command, self.path):
                proxy.answered.append(status)
                return self._answer(status, TROUBLE, {"Content-Type": "application/json"})
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            url = target + rewrite(self.path)
            got = requests.request(self.command, url, data=body, headers=headers, timeout=300, allow_redirects=False)
            kept = {name: got.headers[name] for name in ("Content-Type", "Location") if name in got.headers}
            return self._answer(got.status_code, got.content, kept)

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _pass_on  # noqa: N815 (http.server's names)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
