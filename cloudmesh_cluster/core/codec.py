"""Frozen dataclasses to JSON and back, so that the journal can keep what was asked for."""

from __future__ import annotations

import base64
import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode(value: object) -> str:
    """Return a dataclass as JSON; bytes become base64."""
    return json.dumps(_plain(value), sort_keys=True)


def decode(kind: type[T], text: str) -> T:
    """Return the dataclass of type `kind` that `encode` made `text` of."""
    return cast("T", _typed(kind, json.loads(text)))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(kind: Any, value: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if value is None or kind is Any or kind is object or origin is Literal:
        return value
    if origin in (Union, types.UnionType):
        return _typed(next(argument for argument in arguments if argument is not types.NoneType), value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        known = {field.name for field in fields(kind)}
        return kind(**{name: _typed(hints[name], item) for name, item in value.items() if name in known})
    if kind is bytes:
        return base64.b64decode(value)
    if origin is tuple:
        return tuple(_typed(arguments[0], item) for item in value)
    return value
