"""Taking secrets out of text that is kept or handed on: what looks like one, and what is known to be one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cloudmesh_cluster.core.home import Home

GONE = "(removed)"
HIDDEN = "<TOKEN>"
"""What stands in a channel's address instead of its token, so that the address can be found again."""
LEAST = 6
"""A known secret of fewer letters is not looked for: too much would be removed with it."""
_WORD = r"[\w.-]{0,64}"  # names are short; without a limit a line of a megabyte would take minutes
_SIGN = r"passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|credential|(?<![^\W_])(?:pass|pwd)(?![^\W_])"
_NAMES = rf"(?<![\w.-])(?!(?:OLD)?PWD=/){_WORD}(?:{_SIGN}){_WORD}"
_KEYS = rf"(?<![\w.-])(?!{_WORD}(?:public|host))(?:{_WORD}[_.-])?key"
_VALUE = r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\r\n,;}\]]+"
_BEGIN = "-----BEGIN "
_END = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_TOKENS = (
    r"gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|xox[abeoprs]-[\w-]{10,}"
    r"|AIza[\w-]{30,}|sk[-_](?:live_|test_|ant-|proj-)?[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}"
    r"|pypi-[\w-]{20,}|dckr_pat_[\w-]{16,}|gAAAAA[\w=-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
_CHANNELS = (
    # What holds a variable is no secret, and is looked up again.
    (re.compile(r"(?<=://)[^/@\s$]+@"), f"{HIDDEN}@"),
    (re.compile(r"(https?://\S*?)/t/(?!\$\{)[^/\s]+"), rf"\1/t/{HIDDEN}"),
)
_RULES = (
    # A private key, also where its lines are written with \n.
    (re.compile(rf"{_BEGIN}[A-Z ]*PRIVATE KEY-----.*?(?:{_END.pattern}|\Z)", re.DOTALL), GONE),
    (re.compile(rf"(?i)([\"']?{_NAMES}[\"']?\s*[:=]\s*)(?:{_VALUE})"), rf"\1{GONE}"),
    (re.compile(rf"(?i)([\"']?{_KEYS}[\"']?\s*[:=]\s*[\"']?)[A-Za-z0-9+/=_-]{{16,}}"), rf"\1{GONE}"),
    (re.compile(rf"(?i)(--{_WORD}(?:{_SIGN}){_WORD}\s+)(?!-)\S+"), rf"\1{GONE}"),
    (re.compile(r"(?i)((?:authorization|x-auth-token|x-subject-token)\s*[:=]\s*)[^\r\n]+"), rf"\1{GONE}"),
    (re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{16,}"), rf"\1{GONE}"),
    (re.compile(r"(?i)((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,20}://)[^/\s@]+@"), rf"\1{GONE}@"),
    (re.compile(r"(/t/)[^/\s]+(?=/|\s|$)"), rf"\1{GONE}"),  # a token in the address of a conda channel
    # What programs take as options: curl -u USER:WORD, mysql -pWORD, sshpass -p WORD, openssl -passin pass:WORD.
    (re.compile(r"((?:^|\s)(?:-[uU]|--user|--proxy-user)[\s=]*[\"']?)(?!\d+:\d+\b)[^\s:%\"']+[:%][^\s\"']+"),
     rf"\1{GONE}"),
    (re.compile(r"(\b(?:mysql\w*|mariadb[\w-]*)\b[^\n|;&]{0,200}?\s-p)[^\s\"']+"), rf"\1{GONE}"),
    (re.compile(r"(\b(?:sshpass|(?:docker|podman)\s+login)\b[^\n|;&]{0,200}?\s-p\s*)[\"']?[^\s\"']+"), rf"\1{GONE}"),
    (re.compile(r"(\bredis-cli\b[^\n|;&]{0,200}?\s-a\s+)\S+"), rf"\1{GONE}"),
    (re.compile(rf"(?<![A-Za-z0-9])(?:{_TOKENS})"), GONE),
)  # fmt: skip
# Most lines have nothing of the kind, and one look tells.
_SIGNS = re.compile(
    rf"(?i)pass|pwd|secret|token|key|credential|authorization|bearer|://|/t/|\s-[upa]|--(?:proxy-)?user|{_TOKENS}"
)


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Return a text without secrets.

    Args:
        text: a log, a configuration, a page of JSON.
        known: secrets to remove wherever they stand.

    """
    text = without(text, known)
    if not _SIGNS.search(text):
        return text
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def without(text: str, known: Iterable[str]) -> str:
    """Return a text without some secrets, wherever they stand."""
    for secret in sorted({each for each in known if len(each) >= LEAST}, key=len, reverse=True):
        text = text.replace(secret, GONE)
    return text


def in_channels(text: str) -> str:
    """Return a text without the tokens and passwords of the addresses of channels in it."""
    for pattern, instead in _CHANNELS:
        text = pattern.sub(instead, text)
    return text


def known_secrets(home: Home, cluster: str) -> list[str]:
    """Return the secrets of a cluster's plugins that this machine keeps; of those of several lines each line, too."""
    files = sorted(home.cluster(cluster).glob("secrets/**/*"))
    texts = [path.read_text(errors="replace").strip() for path in files if path.is_file()]
    return list(dict.fromkeys(part for text in texts for part in (text, *text.splitlines())))


class Lines:
    """Takes secrets out of a text that comes line by line: a private key has many.

    Args:
        known: secrets to remove wherever they stand.

    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = tuple(known)
        self._in_key = False

    def redact(self, line: str) -> str:
        """Return the next line without secrets."""
        if self._in_key:
            self._in_key = not _END.search(line)
            return GONE
        self._in_key = _BEGIN in line and "PRIVATE KEY" in line and not _END.search(line)
        return redact(line, self._known)


def without_secrets(data: Any) -> Any:
    """Return plain data without secrets: texts lose what looks like one, those in lists tokens of addresses only."""
    if isinstance(data, dict):
        return {key: redact(value) if isinstance(value, str) else without_secrets(value) for key, value in data.items()}
    if isinstance(data, list):
        return [in_channels(value) if isinstance(value, str) else without_secrets(value) for value in data]
    return data


def secret_values(data: object) -> list[str]:
    """Return the texts of plain data that stand under a key which names a secret."""
    if isinstance(data, dict):
        named = [value for key, value in data.items() if re.fullmatch(_NAMES, str(key), re.IGNORECASE)]
        found = [str(value) for value in named if isinstance(value, str | int)]
        return found + [secret for value in data.values() for secret in secret_values(value)]
    if isinstance(data, list | tuple):
        return [secret for value in data for secret in secret_values(value)]
    return []
