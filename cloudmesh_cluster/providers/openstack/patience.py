"""A session that waits for a cloud that is busy, or whose services are just being restarted."""

from __future__ import annotations

from typing import Any

from keystoneauth1.exceptions import ConnectFailure, HttpError
from keystoneauth1.session import Session

CONNECT_RETRIES = 4
"""With the pauses between them (0.5, 1, 2, 4 s) a service may be away for 7 s."""
STATUS_RETRIES = 4
TIMEOUT = 120.0
"""Seconds that a service may take for one answer."""

NOT_DONE = [429, 503]
"""Answers that mean that nothing was done: every request may be sent again."""
HARMLESS_AGAIN = [*NOT_DONE, 500, 502, 504]
"""After these, only a request that changes nothing by being sent twice."""
IDEMPOTENT = ("GET", "HEAD", "DELETE")
LOOKING = ("GET", "HEAD")
REFUSED = (*range(400, 500), 503)
"""Answers that mean that the request has changed nothing."""


class PatientSession(Session):
    """A session of keystoneauth that tries again by itself, whichever client asks through it.

    A cloud that has never answered gets less patience: its address may just be wrong. So does a service that was waited
    for in vain, until it answers again.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.timeout = self.timeout or TIMEOUT
        self._answered = False
        self._gone: set[str] = set()
        self.changed = False
        """Whether a request may have changed something in the cloud."""

    def request(self, url: str, method: str, **keywords: Any) -> Any:  # type: ignore[override]  # (passed on as they are)
        """Send a request, as often as it makes sense, and note whether it may have changed something."""
        if method.upper() in LOOKING or keywords.get("authenticated") is False:  # False: it logs in
            return self._send(url, method, **keywords)
        status = 0
        try:
            answer = self._send(url, method, **keywords)
            status = answer.status_code
        except HttpError as error:
            status = error.http_status
            raise
        finally:
            # A request without an answer may have been carried out.
            self.changed = self.changed or status not in REFUSED
        return answer

    def _send(self, url: str, method: str, **keywords: Any) -> Any:
        service = str((keywords.get("endpoint_filter") or {}).get("service_type", ""))
        keywords["connect_retries"] = CONNECT_RETRIES if self._answered and service not in self._gone else 1
        keywords["status_code_retries"] = STATUS_RETRIES
        keywords["retriable_status_codes"] = HARMLESS_AGAIN if method.upper() in IDEMPOTENT else NOT_DONE
        try:
            answer = super().request(url, method, **keywords)
        except ConnectFailure:
            self._gone.add(service)
            raise
        self._answered = True
        self._gone.discard(service)
        return answer
