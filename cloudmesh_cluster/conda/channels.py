"""Channels: which addresses the words of a user mean, and what of them nobody but the channel may see."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.redaction import HIDDEN
from cloudmesh_cluster.core.redaction import in_channels as redacted

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"\w[\w.-]*(?:/[\w.-]+)*")


@dataclass(frozen=True)
class Channel:
    """A channel: `shown` is its address as it may be seen, `address` the one that is asked."""

    shown: str
    address: str = field(repr=False)


def channels_of(
    words: Sequence[str], *, alias: str, environ: Mapping[str, str], tokens: Mapping[str, str]
) -> list[Channel]:
    """Return the channels that words mean.

    Args:
        words: addresses (http, https, file), folders, or names below `alias`; `${NAME}` is a variable of `environ`.
        alias: the address or folder below which names are looked for; empty for rattler's own.
        environ: the environment, which may hold the tokens.
        tokens: whole addresses by what may be seen of them, from an earlier time.

    Raises:
        UsageError: a channel is none, or a variable isn't set.

    """
    return [_channel(word, alias=alias, environ=environ, tokens=tokens) for word in words]


def _channel(word: str, *, alias: str, environ: Mapping[str, str], tokens: Mapping[str, str]) -> Channel:
    import rattler
    from rattler.exceptions import InvalidChannelError

    if alias and _NAME.fullmatch(word):
        word = f"{alias.rstrip('/')}/{word}"
    expanded = tokens.get(word) or _VARIABLE.sub(lambda match: _variable(match[1], word, environ), word)
    if HIDDEN in expanded:
        raise UsageError(f"the token of channel {expanded} is not known", hint="give it with its token: -c URL")
    if expanded.startswith((".", "~")):
        expanded = str(Path(expanded).expanduser().absolute())
    try:
        address = str(rattler.Channel(expanded).base_url)
    except InvalidChannelError as error:
        raise UsageError(f"{redacted(word)!r} is no channel: {redacted(str(error))}") from None
    # What stood in a variable is a secret, whatever form it has.
    shown = redacted(word if _VARIABLE.search(word) else address)
    return Channel(shown.rstrip("/"), address.rstrip("/"))


def _variable(name: str, word: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        raise UsageError(f"channel {word}: the variable {name} is not set", hint=f"export {name}=...")
    return environ[name]


def conceal(text: str, channels: Sequence[Channel]) -> str:
    """Return a text in which every channel's address is what may be seen of it."""
    for channel in channels:
        text = text.replace(channel.address, channel.shown)
    return redacted(text)
