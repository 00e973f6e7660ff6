"""Rows in five formats."""

from __future__ import annotations

import csv
import io
import json

import pytest
import yaml

from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.views.formats import chosen_columns, printable, record_as, rows_as

COLUMNS = ("name", "nodes", "ok", "seconds", "note")
ROWS = [
    {"name": "t", "nodes": 4, "ok": True, "seconds": 1.23456, "note": None},
    {"name": "hadoop", "nodes": 12, "ok": False, "seconds": 0.5, "note": 'a, "b"\nc é', "hidden": 1},
]


def test_json_keeps_types_and_keys() -> None:
    """JSON holds the columns in their order, with numbers, booleans and null as such."""
    rows = json.loads(rows_as("json", ROWS, COLUMNS))

    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert rows[0] == {"name": "t", "nodes": 4, "ok": True, "seconds": 1.235, "note": None}
    assert rows[1]["note"] == 'a, "b"\nc é'


def test_yaml_says_what_json_says() -> None:
    """YAML and JSON hold the same data."""
    assert yaml.safe_load(rows_as("yaml", ROWS, COLUMNS)) == json.loads(rows_as("json", ROWS, COLUMNS))
    assert yaml.safe_load(record_as("yaml", ROWS[1], COLUMNS)) == json.loads(record_as("json", ROWS[1], COLUMNS))


def test_csv_reads_back() -> None:
    """CSV has a header and quotes what needs quotes."""
    lines = list(csv.reader(io.StringIO(rows_as("csv", ROWS, ("name", "note")))))

    assert lines == [["name", "note"], ["t", ""], ["hadoop", 'a, "b"\nc é']]


def test_value_is_bare_words() -> None:
    """The format `value` has no header, and a line for each row."""
    assert rows_as("value", ROWS, ("nodes", "name")) == "4 t\n12 hadoop\n"
    assert record_as("value", ROWS[0], ("name", "nodes")) == "t\n4\n"


def test_table_is_aligned() -> None:
    """The table pads texts to the right and numbers to the left, and every row has one line."""
    assert rows_as("table", ROWS, COLUMNS).splitlines() == [
        "name    nodes  ok   seconds  note",
        "t           4  yes     1.23",
        'hadoop     12  no      0.50  a, "b" | c é',
    ]


def test_a_table_is_cut_to_the_terminal() -> None:
    """On a narrow terminal the widest columns are cut; narrow ones are left alone, and programs get everything."""
    rows = [{"name": "t-master", "expected": "e" * 60, "ok": True, "actual": "a" * 30}]

    lines = rows_as("table", rows, ("name", "expected", "actual", "ok"), width=80).splitlines()

    assert [len(line) <= 80 for line in lines] == [True, True]
    assert lines[1].startswith("t-master  eeee")
    assert lines[1].endswith("a  yes")
    assert "e..." in lines[1]
    assert "e" * 60 in rows_as("table", rows, ("name", "expected"))
    assert "e" * 60 in rows_as("csv", rows, ("name", "expected"), width=20)


@pytest.mark.parametrize("style", ["json", "yaml", "csv", "value", "table"])
def test_no_rows(style: str) -> None:
    """No rows are an empty answer that programs can read."""
    empty = {"json": "[]\n", "yaml": "[]\n", "csv": "name,nodes\n", "value": "", "table": "name  nodes\n"}

    assert rows_as(style, [], ("name", "nodes")) == empty[style]


def test_columns_are_printed_as_asked() -> None:
    """`-c` chooses columns and their order; none means all; an unknown one is refused with the closest."""
    assert chosen_columns(["nodes", "name"], COLUMNS) == ["nodes", "name"]
    assert chosen_columns(None, COLUMNS) == list(COLUMNS)
    with pytest.raises(UsageError, match="no column named 'nods'") as refused:
        chosen_columns(["nods"], COLUMNS)
    assert refused.value.hint == "did you mean 'nodes'?"


def test_a_node_cannot_steer_the_terminal() -> None:
    """Control characters of an answer are shown, not obeyed, in tables; JSON escapes them by itself."""
    evil = "a\x1b]0;title\x07b\rc"

    assert printable(evil) == "a\\x1b]0;title\\x07b\\x0dc"
    assert "\x1b" not in rows_as("table", [{"name": evil}], ("name",))
    assert json.loads(rows_as("json", [{"name": evil}], ("name",))) == [{"name": evil}]


STEERING = "a\x1b]0;x\x07\x9b31m\u202eb\x7f\r"


@pytest.mark.parametrize("style", ["table", "json", "yaml", "csv", "value"])
def test_no_format_steers_the_terminal(style: str) -> None:
    """Escape sequences, C1 codes and changes of direction are written as escapes; JSON and YAML still mean the same."""
    texts = [rows_as(style, [{"a": STEERING}], ["a"]), record_as(style, {"a": STEERING}, ["a"])]
    for text in texts:
        assert all(c.isprintable() or c == "\n" for c in text), repr(text)
    if style in ("json", "yaml"):
        assert [yaml.safe_load(text) for text in texts] == [[{"a": STEERING}], {"a": STEERING}]
