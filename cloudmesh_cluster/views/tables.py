"""What operations answer, as tuples that show themselves well: at a prompt, through rich, and in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cloudmesh_cluster.views.formats import human, rows_as

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

T = TypeVar("T")
Row = Mapping[str, Any]


class Table(tuple[T, ...]):
    """Records in order: a tuple that prints as a table.

    `table.rows` is the same as plain data, for `json.dumps` or `pandas.DataFrame`.
    """

    columns: tuple[str, ...]
    _shown: Sequence[Row]
    _text: str | None

    def __new__(
        cls,
        records: Iterable[T],
        columns: Sequence[str],
        *,
        shown: Sequence[Row] | None = None,
        text: str | None = None,
    ) -> Table[T]:
        """Make a table.

        Args:
            records: dataclasses or mappings.
            columns: what is shown of them.
            shown: the rows that are shown where these are not the records themselves, as when equal ones are folded.
            text: what is shown instead, where that is no table.

        """
        self = super().__new__(cls, tuple(records))
        self.columns = tuple(columns)
        self._shown = [_plain(record) for record in self] if shown is None else shown
        self._text = text
        return self

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The records as plain dictionaries."""
        return [dict(_plain(record)) for record in self]

    def __repr__(self) -> str:
        return (rows_as("table", self._shown, self.columns) if self._text is None else self._text).rstrip("\n")

    def __rich__(self) -> RichTable | Text:
        from rich.table import Table as RichTable
        from rich.text import Text

        if self._text is not None:
            return Text(self._text.rstrip("\n"))
        table = RichTable(*self.columns)
        for row in self._shown:
            table.add_row(*(Text(human(row.get(column))) for column in self.columns))
        return table

    def _repr_html_(self) -> str | None:
        if self._text is not None:
            return None
        from cloudmesh_cluster.views.pages import table_html

        return table_html(self._shown, self.columns)


class Record(dict[str, Any]):
    """One record: a dictionary that shows itself as `text`."""

    def __init__(self, record: Row, *, text: str) -> None:
        super().__init__(record)
        self._text = text

    def __repr__(self) -> str:
        return self._text.rstrip("\n")


class Picture:
    """A picture for notebooks; at a prompt, the words that stand for it."""

    def __init__(self, svg: str, *, text: str) -> None:
        self.svg, self._text = svg, text

    def __repr__(self) -> str:
        return self._text

    def _repr_svg_(self) -> str:
        return self.svg


def _plain(record: object) -> Row:
    if is_dataclass(record) and not isinstance(record, type):
        return asdict(record)
    if isinstance(record, Mapping):
        return record
    return {"value": record}
