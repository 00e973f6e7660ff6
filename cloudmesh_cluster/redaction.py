"""Taking secrets out of text that leaves this machine: what looks like one, and what is known to be one."""

from __future__ import annotations

import re
from collections.abc import Iterable

GONE = "(removed)"
LEAST = 6
"""A known secret of fewer letters is not looked for: too much would be removed with it."""
_NAMES = r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|credential)[\w.-]*"
_RULES = (
    # A private key, also where its lines are written with \n.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
    (re.compile(rf"(?i)([\"']?{_NAMES}[\"']?\s*[:=]\s*)(\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\r\n,;}}\]]+)"), rf"\1{GONE}"),
    (re.compile(rf"(?i)(--{_NAMES}\s+)\S+"), rf"\1{GONE}"),
    (re.compile(r"(?i)((?:authorization|x-auth-token|x-subject-token)\s*[:=]\s*)[^\r\n]+"), rf"\1{GONE}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE), rf"\1{GONE}@"),
    (re.compile(r"(/t/)[^/\s]+(/)"), rf"\1{GONE}\2"),  # a token in the address of a conda channel
)


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Return a text without secrets.

    Args:
        text: a log, a configuration, a page of JSON.
        known: secrets to remove wherever they stand.

    """
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    for secret in sorted({each for each in known if len(each) >= LEAST}, key=len, reverse=True):
        text = text.replace(secret, GONE)
    return text


def secret_values(data: object) -> list[str]:
    """Return the texts of plain data that stand under a key which names a secret."""
    if isinstance(data, dict):
        named = [value for key, value in data.items() if re.fullmatch(_NAMES, str(key), re.IGNORECASE)]
        found = [str(value) for value in named if isinstance(value, str | int)]
        return found + [secret for value in data.values() for secret in secret_values(value)]
    if isinstance(data, list | tuple):
        return [secret for value in data for secret in secret_values(value)]
    return []
