"""Durations and sizes."""

from __future__ import annotations

import pytest

from cloudmesh_cluster.core.quantities import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("5s", 5), ("2m", 120), ("1h", 3600), ("0.5", 0.5), ("1.5h", 5400), ("0", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a number of seconds, or a number with s, m or h."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5x", "-5", "1:30", "5 s", "1h30m", "inf", "nan", "1e3", "05", "400000h", "٣"]
)
def test_no_durations(text: str) -> None:
    """Everything else is refused with the text and what was expected."""
    with pytest.raises(ValueError, match=r"duration|year"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "mebibytes"), [("512", 512), ("512M", 512), ("2G", 2048), ("1.5G", 1536), ("2GiB", 2048), ("1t", 1048576)]
)
def test_sizes(text: str, mebibytes: int) -> None:
    """A size is a number of MiB, or a number with M, G or T, which are powers of 1024."""
    assert parse_size(text) == mebibytes


@pytest.mark.parametrize("text", ["", "G", "2X", "-1", "1.5M", "0x10", "1_000", "2 G", "2K", "0512"])
def test_no_sizes(text: str) -> None:
    """Everything else is refused."""
    with pytest.raises(ValueError, match=r"size|whole"):
        parse_size(text)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 30.0, 90.0, 120.0, 3600.0, 5400.0])
def test_durations_are_written_as_they_are_read(seconds: float) -> None:
    """Formatting is the inverse of parsing."""
    assert parse_duration(format_duration(seconds)) == seconds


def test_shortest_form() -> None:
    """Durations and sizes are written with the biggest unit that fits."""
    assert [format_duration(each) for each in (45, 120, 7200)] == ["45s", "2m", "2h"]
    assert [format_size(each) for each in (512, 2048, 1536)] == ["512M", "2G", "1536M"]
