"""The typed reader of YAML: what was written is what is read, and every problem has its place."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from cloudmesh_cluster.core.errors import InvalidInput
from cloudmesh_cluster.core.yaml_reader import Source
from cloudmesh_cluster.core.yaml_tree import MOST_BYTES, MOST_VALUES, Written


def source_of(text: str) -> Source:
    """Return a source of YAML text called f."""
    return Source.of_bytes(text.encode(), name="f")


def problems_of(source: Source) -> list[str]:
    """Return the problems as a user sees them."""
    return [str(problem) for problem in source.problems]


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "y", "1.10", "22:22", "0755", "1_000", "0x1F", "1e3", ".5"])
def test_text_is_what_was_written(word: str) -> None:
    """A text key gives the characters of the file, whatever YAML 1.1 takes them for."""
    source = source_of(f"key: {word}\n{word}: key\n")

    assert source["key"].text("") == word
    assert source[word].text("") == "key"
    assert source.problems == []


@pytest.mark.parametrize("word", ["no", "1.0", "22:22", "0755", "1_000", "0x1F", "1e3", "true", "''", "9" * 40])
def test_integer_never_guesses(word: str) -> None:
    """A whole number is decimal digits; what YAML 1.1 would convert is a problem and gives the default."""
    source = source_of(f"key: {word}\n")

    assert source["key"].integer(7) == 7
    assert len(source.problems) == 1
    assert str(source.problems[0]).startswith("f:1:6: key: expected a whole number, got ")


@pytest.mark.parametrize("word", ["true", "True", '"true"'])
def test_boolean_reads_true(word: str) -> None:
    """True is written true."""
    assert source_of(f"key: {word}\n")["key"].boolean(False) is True


@pytest.mark.parametrize(("word", "meant"), [("no", "false"), ("Off", "false"), ("yes", "true"), ("on", "true")])
def test_boolean_refuses_other_words(word: str, meant: str) -> None:
    """YAML 1.1's other words for true and false are a problem that says what to write."""
    source = source_of(f"key: {word}\n")

    assert source["key"].boolean(None) is None
    assert problems_of(source) == [f"f:1:6: key: expected true or false, got {word!r} (write {meant})"]


def test_readers_convert() -> None:
    """Numbers, durations, sizes and regular expressions come out as values with their units."""
    source = source_of("{i: -3, n: 1.5, d: 2m, b: 45, s: 2G, m: 512, r: '^a+$', t: [a, 1.10]}")

    assert source["i"].integer(0) == -3
    assert source["n"].number(0.0) == 1.5
    assert source["d"].duration(0.0) == 120.0
    assert source["b"].duration(0.0) == 45.0
    assert source["s"].size(0) == 2048
    assert source["m"].size(0) == 512
    assert source["r"].regex("") == "^a+$"
    assert source["t"].texts() == ("a", "1.10")
    source.finish()


@pytest.mark.parametrize("written", ["", "~", "null", "Null"])
def test_nothing_written_is_the_default(written: str) -> None:
    """An empty value and YAML's words for nothing give the default, quoted ones are texts."""
    source = source_of(f'key: {written}\nquoted: "{written}"\n')

    assert source["key"].missing
    assert source["key"].integer(5) == 5
    assert source["quoted"].text("default") == written
    assert source["key"].is_null == (written != "")


def test_null_is_no_choice() -> None:
    """Where one of a few words is expected, null is a problem: it may have been meant as a word like `none`."""
    source = source_of("mesh: null\n")

    assert source["mesh"].text("all", choices=("all", "none")) == "all"
    assert problems_of(source) == ["f:1:7: mesh: null is unknown: expected all or none (leave it out for the default)"]


def test_all_problems_in_the_order_of_the_text() -> None:
    """One reading reports everything that is wrong, sorted by place, unknown keys with what was meant."""
    source = source_of("nmae: x\ncount: two\nwithin: 5x\ncount: 3\n")
    source["within"].duration(0.0)
    source["count"].integer(1)
    source["name"].required().text("")

    with pytest.raises(InvalidInput) as caught:
        source.finish()

    assert str(caught.value).splitlines() == [
        "f:1:1: name: is missing",
        "f:1:1: nmae: unknown key (did you mean 'name'?)",
        "f:2:8: count: expected a whole number, got 'two'",
        "f:3:9: within: expected a duration (a number of seconds, or 5s, 2m, 1h), got '5x'",
        "f:4:1: count: is given twice (first in line 2)",
    ]


def test_a_problem_is_reported_once() -> None:
    """A wrong mapping is one problem, however many of its keys the schema asks for."""
    source = source_of("role: 3\n")
    for key in ("count", "image"):
        source["role"][key].required().integer(1)

    assert problems_of(source) == ["f:1:7: role: expected a mapping (key: value), got '3'"]


def test_bounds_are_inclusive() -> None:
    """A number at its bound is right, one beyond is a problem."""
    source = source_of("{a: 1, b: 9, c: 0, d: 10}")

    assert [source[key].integer(-1, least=1, most=9) for key in "abcd"] == [1, 9, -1, -1]
    assert problems_of(source) == ["f:1:17: c: expected at least 1, got 0", "f:1:23: d: expected at most 9, got 10"]


def test_aliases_are_shared_values() -> None:
    """An alias stands for the value of its anchor."""
    source = source_of("a: &one {count: 1}\nb: *one\n")

    assert source["a"]["count"].integer(0) == source["b"]["count"].integer(0) == 1
    source.finish()


def test_limits_of_size() -> None:
    """A text that is too long or holds too many values is refused before it costs anything."""
    too_long = Source.of_bytes(b"#" * (MOST_BYTES + 1), name="f")
    too_many = source_of("a:\n" + "- x\n" * (MOST_VALUES + 1))

    assert problems_of(too_long) == [f"f: {MOST_BYTES + 1} bytes are too many (at most 1 MiB)"]
    assert [problem.what for problem in too_many.problems] == ["holds too many values"]


def test_depth_is_limited() -> None:
    """Nesting without end is one problem, not a crash."""
    assert [problem.what for problem in source_of("[" * 500).problems] == ["is nested too deeply"]
    assert [problem.what for problem in source_of("? " * 500).problems] == ["is nested too deeply"]


def test_unreadable_files_are_problems(tmp_path: Path) -> None:
    """A missing file is reported like any other problem, under the name it goes by."""
    source = Source.read(tmp_path / "none.yaml", name="none.yaml")

    assert problems_of(source) == ["none.yaml: can't be read: No such file or directory"]


def test_plain_data_is_read_again_with_places() -> None:
    """Texts taken out untyped are read later with types, and still say where they were written."""
    outer = source_of("plugins:\n  hadoop: {memory: 2X, version: 1.10, flag: no, mising: 1}\n")
    data = outer["plugins"]["hadoop"].plain()
    outer.finish()
    inner = Source.of_plain(data, name="f", path="plugins.hadoop")

    assert data == {"memory": "2X", "version": "1.10", "flag": "no", "mising": "1"}
    assert inner["version"].text("") == "1.10"
    assert inner["memory"].size(1) == 1
    assert inner["missing"].integer(0) == 0
    inner["flag"].text("")
    assert problems_of(inner) == [
        "f:2:20: plugins.hadoop.memory: expected a size (a number of MiB, or 512M, 2G), got '2X'",
        "f:2:49: plugins.hadoop.mising: unknown key (did you mean 'missing'?)",
    ]


def test_plain_data_of_python() -> None:
    """Data that never was in a file is read by the same rules, under the name of where it came from."""
    source = Source.of_plain({"count": 3, "flag": True, "none": None, "words": ["a", 2]}, name="--set")

    assert source["count"].integer(0) == 3
    assert source["flag"].boolean(False) is True
    assert source["none"].missing
    assert source["words"].texts() == ("a", "2")
    assert source["count"].boolean(None) is None
    assert problems_of(source) == ["--set: count: expected true or false, got '3'"]


def test_written_text_can_be_copied() -> None:
    """A text that knows its place survives a deep copy, place included."""
    copied = copy.deepcopy(source_of("key: value\n")["key"].text(""))

    assert isinstance(copied, Written)
    assert (copied, str(copied.mark)) == ("value", "f:1:6")
