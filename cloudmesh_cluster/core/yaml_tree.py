"""YAML text as a tree of plain nodes that remember where they were written.

Nothing is resolved here: a scalar is the text as written. YAML 1.1 would turn `no` into false, `1.10` into 1.1
and `22:22` into 1342 before anyone could ask what was meant; only the reader of a key knows its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

MOST_BYTES = 1024 * 1024
MOST_DEPTH = 30
MOST_VALUES = 20_000
UNSET = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, order=True)
class Mark:
    """A place: a file (or what else the text came from), line and column counted from 1; line 0 is no line."""

    line: int
    column: int
    name: str

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}" if self.line else self.name


class Written(str):
    """Text of a file that remembers its place, so that who reads it later can still say where it stands."""

    mark: Mark

    def __new__(cls, text: str, mark: Mark) -> Written:
        """Return `text`, written at `mark`."""
        written = super().__new__(cls, text)
        written.mark = mark
        return written

    def __reduce__(self) -> tuple[type[Written], tuple[str, Mark]]:
        return Written, (str(self), self.mark)


@dataclass(frozen=True)
class ScalarNode:
    """A scalar as it was written; `plain` means without quotes and not as a block."""

    text: Written
    plain: bool
    size: int = 1

    @property
    def mark(self) -> Mark:
        """Where it stands."""
        return self.text.mark

    @property
    def unset(self) -> bool:
        """Whether nothing was written, or one of YAML's words for nothing."""
        return self.plain and self.text in UNSET


@dataclass(frozen=True)
class ListNode:
    """A sequence; `size` counts the values below it, aliases as often as they are used."""

    mark: Mark
    items: tuple[Node, ...]
    size: int


@dataclass(frozen=True)
class MappingNode:
    """A mapping; the keys are texts that know their places."""

    mark: Mark
    entries: Mapping[Written, Node]
    size: int


Node = ScalarNode | ListNode | MappingNode


@dataclass(frozen=True)
class Fault:
    """Something wrong with the text itself: where, the path of keys so far, what, and a hint."""

    mark: Mark
    path: str
    what: str
    hint: str = ""


@dataclass(frozen=True)
class Parsed:
    """What a text holds: its node (None when it is empty or no YAML) and what is wrong with it."""

    node: Node | None
    faults: tuple[Fault, ...] = ()


class _RefusedError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.what)
        self.fault = fault


def parse(data: bytes, *, name: str) -> Parsed:
    """Parse one YAML document; `name` is what its places are called after."""
    if len(data) > MOST_BYTES:
        fault = Fault(Mark(0, 0, name), "", f"{len(data)} bytes are too many", "at most 1 MiB")
        return Parsed(None, (fault,))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = Mark(data.count(b"\n", 0, error.start) + 1, 1, name)
        return Parsed(None, (Fault(mark, "", "is not UTF-8 text"),))
    builder = _Builder(name)
    try:
        node = builder.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except _RefusedError as refused:
        return Parsed(None, (*builder.faults, refused.fault))
    except yaml.YAMLError as error:
        return Parsed(None, (*builder.faults, _syntax_fault(error, text, name)))
    return Parsed(node, tuple(builder.faults))


@dataclass
class _Builder:
    """Builds nodes from the parser's events; what it can step over becomes a fault, the rest is refused."""

    name: str
    faults: list[Fault] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)

    def document(self, events: Iterator[yaml.Event]) -> Node | None:
        node: Node | None = None
        seen = False
        for event in events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            if seen:
                raise self._refused(event, "", "a second document starts here", "one file holds one document")
            seen = True
            node = self._node(next(events), events, "", 0)
        return node

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if depth > MOST_DEPTH:
            raise self._refused(event, path[:60], "is nested too deeply", f"at most {MOST_DEPTH} levels")
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise self._refused(event, path, "a value is missing")
        if event.tag:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._fault(event, path, f"the tag {tag} has no meaning here", "leave it out")
        if event.anchor:
            self.anchors[event.anchor] = None
        node = self._bare_node(event, events, path, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _bare_node(
        self,
        event: yaml.ScalarEvent | yaml.CollectionStartEvent,
        events: Iterator[yaml.Event],
        path: str,
        depth: int,
    ) -> Node:
        mark = self._mark(event)
        if isinstance(event, yaml.ScalarEvent):
            return ScalarNode(Written(event.value, mark), plain=not event.style)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            size = 1
            while not isinstance(item := next(events), yaml.SequenceEndEvent):
                items.append(self._node(item, events, f"{path}[{len(items)}]", depth + 1))
                size += self._counted(item, items[-1], path, size)
            return ListNode(mark, tuple(items), size)
        return self._mapping(mark, events, path, depth)

    def _mapping(self, mark: Mark, events: Iterator[yaml.Event], path: str, depth: int) -> MappingNode:
        entries: dict[Written, Node] = {}
        size = 1
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events, path, depth + 1)
            below = join_path(path, key.text) if isinstance(key, ScalarNode) else path
            value_event = next(events)
            value = self._node(value_event, events, below, depth + 1)
            size += self._counted(value_event, value, path, size)
            if not isinstance(key, ScalarNode):
                self._fault(event, path, "a key must be a word", "lists and mappings can't be keys")
            elif key.text == "<<" and key.plain:
                self._fault(event, path, "merge keys (<<) are not read", "write the keys out")
            elif key.text in entries:
                first = next(known for known in entries if known == key.text)
                self._fault(event, below, "is given twice", f"first in line {first.mark.line}")
            else:
                entries[key.text] = value
        return MappingNode(mark, entries, size)

    def _counted(self, event: yaml.Event, node: Node, path: str, so_far: int) -> int:
        if so_far + node.size > MOST_VALUES:
            hint = f"at most {MOST_VALUES}, aliases counted in full"
            raise self._refused(event, path, "holds too many values", hint)
        return node.size

    def _alias(self, event: yaml.AliasEvent, path: str) -> Node:
        if event.anchor not in self.anchors:
            hint = f"no &{event.anchor} before it; put text that starts with * in quotes"
            raise self._refused(event, path, f"*{event.anchor} refers to nothing", hint)
        node = self.anchors[event.anchor]
        if node is None:
            raise self._refused(event, path, f"*{event.anchor} refers to itself")
        return node

    def _mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        return Mark(start.line + 1, start.column + 1, self.name) if start else Mark(0, 0, self.name)

    def _fault(self, event: yaml.Event, path: str, what: str, hint: str = "") -> None:
        self.faults.append(Fault(self._mark(event), path, what, hint))

    def _refused(self, event: yaml.Event, path: str, what: str, hint: str = "") -> _RefusedError:
        return _RefusedError(Fault(self._mark(event), path, what, hint))


def join_path(path: str, key: str) -> str:
    """Return the path of `key` below `path`: `roles.worker`."""
    return f"{path}.{key}" if path else key


def _syntax_fault(error: yaml.YAMLError, text: str, name: str) -> Fault:
    problem_mark = getattr(error, "problem_mark", None)
    if problem_mark is not None:
        line, column = problem_mark.line, problem_mark.column
        what = str(getattr(error, "problem", "") or "can't be parsed")
    else:
        before = text[: getattr(error, "position", 0)]
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        what = str(getattr(error, "reason", "can't be parsed"))
    mark = Mark(line + 1, column + 1, name)
    lines = text.splitlines()
    written = lines[line] if line < len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return Fault(mark, "", "a tab indents this line", "YAML is indented with spaces")
    return Fault(mark, "", f"is no YAML: {what}", _syntax_hint(what, error))


def _syntax_hint(what: str, error: yaml.YAMLError) -> str:
    if "mapping values" in what:
        return "indent as the lines above, and put text that holds ': ' in quotes"
    if "cannot start any token" in what:
        return "put the text in quotes"
    context = getattr(error, "context_mark", None)
    if context is not None and getattr(error, "context", None):
        return f"{error.context}, which starts in line {context.line + 1}"  # type: ignore[attr-defined]
    return ""
