"""Reads YAML by the types that a schema expects, and collects every problem instead of stopping at the first.

    source = Source.read(path)
    name = source["name"].required().text("")
    count = source["roles"]["worker"]["count"].integer(2, least=1)
    tuple(item.text("") for item in source["tags"].items())
    source.finish()          # raises InvalidInput with all problems, unknown keys among them

A key is known because the schema asks for it: what nobody asked for is an unknown key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cloudmesh_cluster.core.errors import InvalidInput, did_you_mean
from cloudmesh_cluster.core.model import Problem
from cloudmesh_cluster.core.quantities import DURATION_FORM, SIZE_FORM, parse_duration, parse_size
from cloudmesh_cluster.core.yaml_tree import (
    Fault,
    ListNode,
    MappingNode,
    Mark,
    Node,
    Parsed,
    ScalarNode,
    Written,
    join_path,
    parse,
)

D = TypeVar("D")
T = TypeVar("T")

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?")
_LEADING_ZERO = re.compile(r"[-+]?0+([0-9]+)(\.[0-9]+)?")
_BOOLEANS = {"true": True, "false": False}
_BOOLEAN_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class Source:
    """One YAML text while it is read: its values, and the problems found in them so far.

    Args:
        parsed: what the text holds.
        mark: the place to name when a value is missing altogether.
        path: the path that all paths in messages start with.

    """

    def __init__(self, parsed: Parsed, mark: Mark, *, path: str = "") -> None:
        self.mark = mark
        self._found: list[Fault] = list(parsed.faults)
        self._broken = parsed.node is None and bool(parsed.faults)
        self._asked: dict[str, tuple[MappingNode, set[str]]] = {}
        self.root = Value(self, parsed.node, path=path, mark=mark)

    @classmethod
    def read(cls, path: Path, *, name: str = "") -> Source:
        """Read a file; one that can't be read is a problem too. `name` stands for it in messages."""
        shown = name or str(path)
        try:
            return cls.of_bytes(path.read_bytes(), name=shown)
        except OSError as error:
            fault = Fault(Mark(0, 0, shown), "", f"can't be read: {error.strerror}")
            return cls(Parsed(None, (fault,)), fault.mark)

    @classmethod
    def of_bytes(cls, data: bytes, *, name: str) -> Source:
        """Read YAML text; `name` stands for it in messages."""
        return cls(parse(data, name=name), Mark(1, 1, name))

    @classmethod
    def of_plain(cls, data: object, *, name: str, path: str = "") -> Source:
        """Read what `Value.plain()` gave, or any data of dicts, lists and scalars, by the same rules.

        Texts that came from a file keep their places there; for all others the place is `name`.
        """
        mark = Mark(0, 0, name)
        return cls(Parsed(_node_of(data, mark)), mark, path=path)

    def __getitem__(self, key: str) -> Value:
        return self.root[key]

    @property
    def problems(self) -> list[Problem]:
        """All problems so far in the order of the text; keys that were never asked for are unknown."""
        found = [*self._found, *self._unknown_keys()]
        return [_problem(fault) for fault in sorted(dict.fromkeys(found), key=lambda fault: fault.mark)]

    def finish(self, *, hint: str = "") -> None:
        """End the reading.

        Raises:
            InvalidInput: with all problems, when there is any.

        """
        if problems := self.problems:
            raise InvalidInput(problems, hint=hint)

    def report(self, mark: Mark, path: str, what: str, *, hint: str = "") -> None:
        """Add a problem; a text that can't be parsed has no other problems than that."""
        if not self._broken:
            self._found.append(Fault(mark, path, what, hint))

    def asked(self, path: str, node: MappingNode, keys: Collection[str]) -> None:
        """Note that the schema knows these keys of the mapping at `path`."""
        self._asked.setdefault(path, (node, set()))[1].update(keys)

    def _unknown_keys(self) -> list[Fault]:
        return [
            Fault(key.mark, join_path(path, key), "unknown key", did_you_mean(key, sorted(known)))
            for path, (node, known) in self._asked.items()
            for key in node.entries
            if key not in known
        ]


class Value:
    """A place in a source: what is written there, or that nothing is.

    The readers (`text`, `integer`...) take the default that stands for "nothing written" and for "something wrong
    written"; in the second case they have also reported the problem. `is_null` tells YAML's words for nothing
    from nothing at all.
    """

    def __init__(self, source: Source, node: Node | None, *, path: str, mark: Mark, hushed: bool = False) -> None:
        self.source = source
        self.path = path
        self.mark = node.mark if node is not None else mark
        self.node = None if isinstance(node, ScalarNode) and node.unset else node
        self.is_null = isinstance(node, ScalarNode) and node.unset and node.text != ""
        self._hushed = hushed

    @property
    def missing(self) -> bool:
        """Whether nothing is written here; YAML's `null` and `~` count as nothing."""
        return self.node is None

    @property
    def is_mapping(self) -> bool:
        """Whether a mapping is written here."""
        return isinstance(self.node, MappingNode)

    @property
    def is_list(self) -> bool:
        """Whether a list is written here."""
        return isinstance(self.node, ListNode)

    @property
    def is_scalar(self) -> bool:
        """Whether a single word, number or text is written here."""
        return isinstance(self.node, ScalarNode)

    def report(self, what: str, *, hint: str = "") -> None:
        """Add a problem at this place."""
        self.source.report(self.mark, self.path, what, hint=hint)

    def required(self) -> Value:
        """Report a problem when nothing is written here; return the value itself."""
        if self.missing and not self._hushed:
            self.report("is missing")
        return self

    def __getitem__(self, key: str) -> Value:
        """Return the value of a key, which thereby is a known one; anything but a mapping is a problem."""
        path = join_path(self.path, key)
        if not isinstance(self.node, MappingNode):
            self._expected("a mapping (key: value)")
            hushed = self._hushed or not self.missing
            return Value(self.source, None, path=path, mark=self.mark, hushed=hushed)
        self.source.asked(self.path, self.node, [key])
        return Value(self.source, self.node.entries.get(Written(key, self.mark)), path=path, mark=self.mark)

    def entries(self) -> list[tuple[Written, Value]]:
        """Return all keys with their values, for mappings whose keys are free."""
        if not isinstance(self.node, MappingNode):
            self._expected("a mapping (key: value)")
            return []
        self.source.asked(self.path, self.node, self.node.entries)
        return [
            (key, Value(self.source, node, path=join_path(self.path, key), mark=key.mark))
            for key, node in self.node.entries.items()
        ]

    def items(self) -> list[Value]:
        """Return the values of a list; an empty item is a problem and left out."""
        if not isinstance(self.node, ListNode):
            self._expected("a list")
            return []
        values = [
            Value(self.source, node, path=f"{self.path}[{number}]", mark=node.mark)
            for number, node in enumerate(self.node.items)
        ]
        for value in values:
            if value.missing:
                value.report("is empty")
        return [value for value in values if not value.missing]

    def text(
        self,
        default: D,
        *,
        choices: Collection[str] = (),
        pattern: str | re.Pattern[str] = "",
        form: str = "",
    ) -> str | D:
        """Return the text exactly as written: `no` is "no", `1.10` is "1.10", `22:22` is "22:22".

        Args:
            default: what to return when nothing is written, or something wrong.
            choices: the only texts that are right.
            pattern: a regular expression that the whole text must match.
            form: what `pattern` asks for, in words.

        """
        text = self._scalar(form or "text")
        if text is None:
            if choices and self.is_null:
                self.report(f"null is unknown: expected {' or '.join(choices)}", hint="leave it out for the default")
            return default
        if choices and text not in choices:
            self.report(f"{text!r} is unknown: expected {' or '.join(choices)}", hint=_close(text, choices))
            return default
        if pattern and re.fullmatch(pattern, text) is None:
            self.report(f"expected {form or f'text that matches {pattern}'}, got {text!r}")
            return default
        return text

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts; nothing written is the empty one."""
        return tuple(text for item in self.items() if (text := item.text(None)) is not None)

    def integer(self, default: D, *, least: int | None = None, most: int | None = None) -> int | D:
        """Return a whole number; the bounds are inclusive."""
        return self._bounded(default, _integer_of, "a whole number", least, most)

    def number(self, default: D, *, least: float | None = None, most: float | None = None) -> float | D:
        """Return a number; the bounds are inclusive."""
        return self._bounded(default, _number_of, "a number", least, most)

    def boolean(self, default: D) -> bool | D:
        """Return true or false; YAML 1.1's other words for them (`yes`, `off`...) are a problem, never a guess."""
        text = self._scalar("true or false")
        if text is None:
            return default
        if text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        word = _BOOLEAN_WORDS.get(text.lower())
        self.report(f"expected true or false, got {text!r}", hint=f"write {word}" if word else "")
        return default

    def duration(self, default: D, *, least: float | None = None) -> float | D:
        """Return a duration in seconds, written as a number of seconds or `5s`, `2m`, `1h`."""
        return self._bounded(default, parse_duration, f"a duration ({DURATION_FORM})", least, None)

    def size(self, default: D, *, least: int | None = None) -> int | D:
        """Return a size in MiB, written as a number of MiB or `512M`, `2G`."""
        return self._bounded(default, parse_size, f"a size ({SIZE_FORM})", least, None, hint="MiB, or write 2G")

    def regex(self, default: D) -> str | D:
        """Return a regular expression that compiles."""
        text = self._scalar("a regular expression")
        if text is None:
            return default
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            self.report(f"{text!r} is no regular expression: {error}")
            return default
        return text

    def plain(self) -> object:
        """Return all that is written here as dicts, lists and texts as written (None for nothing).

        The texts are `Written`: they know their places, and `Source.of_plain` reads them again with types.
        """
        if self.is_mapping:
            self.entries()
        return _plain_of(self.node)

    def _bounded(
        self,
        default: D,
        convert: Callable[[str], T],
        form: str,
        least: float | None,
        most: float | None,
        *,
        hint: str = "",
    ) -> T | D:
        text = self._scalar(form)
        if text is None:
            return default
        try:
            value = convert(text)
        except ValueError:
            self.report(f"expected {form}, got {text!r}", hint=_number_hint(text))
            return default
        for bound, word, beyond in ((least, "at least", -1), (most, "at most", 1)):
            if bound is not None and (value - bound) * beyond > 0:  # type: ignore[operator]
                self.report(f"expected {word} {bound}, got {text}", hint=hint)
                return default
        return value

    def _scalar(self, form: str) -> Written | None:
        if isinstance(self.node, ScalarNode):
            return self.node.text
        self._expected(form)
        return None

    def _expected(self, form: str) -> None:
        if self.node is None:
            return
        kind = {MappingNode: "a mapping", ListNode: "a list"}.get(type(self.node))
        self.report(f"expected {form}, got {kind or repr(str(self.node.text))}")  # type: ignore[union-attr]


def _integer_of(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise ValueError(text)
    return int(text)


def _number_of(text: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(text)
    return float(text)


def _number_hint(text: str) -> str:
    match = _LEADING_ZERO.fullmatch(text)
    return "a leading zero can mean octal: leave it out" if match else ""


def _close(word: str, known: Collection[str]) -> str:
    hint = did_you_mean(word, list(known))
    return hint if hint.startswith("did you mean") else ""


def _problem(fault: Fault) -> Problem:
    where = f"{fault.mark}: {fault.path}" if fault.path else str(fault.mark)
    return Problem(where, fault.what, fault.hint)


def _plain_of(node: Node | None) -> object:
    if isinstance(node, MappingNode):
        return {key: _plain_of(below) for key, below in node.entries.items()}
    if isinstance(node, ListNode):
        return [_plain_of(below) for below in node.items]
    return None if node is None or node.unset else node.text


def _node_of(data: object, mark: Mark) -> Node:
    if isinstance(data, Mapping):
        entries = {_written(key, mark): _node_of(below, mark) for key, below in data.items()}
        here = min((key.mark for key in entries), default=mark)
        return MappingNode(here, entries, size=1)
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return ListNode(mark, tuple(_node_of(below, mark) for below in data), size=1)
    if data is None:
        return ScalarNode(Written("", mark), plain=True)
    # A text is taken as if quoted: "null" as a value of data is the word, None is nothing.
    return ScalarNode(_written(data, mark), plain=False)


def _written(data: object, mark: Mark) -> Written:
    if isinstance(data, Written):
        return data
    if isinstance(data, bool):
        return Written(str(data).lower(), mark)
    return Written(str(data), mark)
