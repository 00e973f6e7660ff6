"""The report of a real create: every node's times are there, and a real browser shows the page."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from tests.conftest import refuse
from tests.support.command_line import CommandLine


@pytest.fixture(scope="module")
def created(shared_cm: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Return `cm` with a cluster `t`, and one that failed a check of its profile and is gone."""
    shared_cm("cluster", "create", "t", "-n", "1", timeout=600)
    profile = tmp_path_factory.mktemp("profile") / "bad.yaml"
    checks = "checks: [{name: never so, on: worker, run: 'echo <i>odd</i>', expect: {stdout: even}, within: 1s}]\n"
    profile.write_text(f"name: bad\nroles:\n  worker: {{count: 1}}\n{checks}")
    shared_cm("cluster", "create", "bad", "-p", str(profile), expect=1, timeout=600)
    return shared_cm


def test_every_node_has_its_times(created: CommandLine) -> None:
    """Boot, first contact, wiring and checks of each node have times inside the operation, and something decided it."""
    rows = json.loads(created("cluster", "report", "t", "-f", "json").stdout)

    for node in ("t-master", "t-worker-1"):
        steps = [row["step"] for row in rows if row["node"] == node]
        assert [step for step in steps if not step.startswith(("check", "propagate"))] == ["provision", "reach", "wire"]
        assert any(step.startswith("check ") for step in steps)
    assert all(row["begin"] >= 0 and row["seconds"] >= 0 and row["state"] == "done" for row in rows)
    chain = [row for row in rows if row["decisive"]]
    assert {"reach", "wire"} <= {row["step"] for row in chain}
    assert sum(row["seconds"] for row in chain) > 0.5 * max(row["begin"] + row["seconds"] for row in rows)


def test_page_of_a_failure_that_is_gone(created: CommandLine, tmp_path: Path) -> None:
    """The report outlives the cluster: the check that failed, what it found, the versions; nothing of it is markup."""
    page = tmp_path / "bad.html"
    created("cluster", "report", "bad", "--html", str(page))
    text = page.read_text()

    assert "never so" in text
    assert "&lt;i&gt;odd&lt;/i&gt;" in text
    assert "rolled back" in text
    assert "Linux" in text
    assert "<i>odd" not in text


def pixels(png: Path) -> tuple[int, int, list[tuple[int, int, int]]]:
    """Return width, height and the colours of a PNG as a browser writes it: 8 bits, no interlacing."""
    data, at, packed = png.read_bytes(), 8, b""
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", body[:10])
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    assert depth == 8
    size = {2: 3, 6: 4}[color]
    raw, line, colors = zlib.decompress(packed), bytearray(width * size), []
    for row in range(height):
        start = row * (width * size + 1)
        line = _unfiltered(raw[start], raw[start + 1 : start + 1 + width * size], line, size)
        colors += [(line[i], line[i + 1], line[i + 2]) for i in range(0, len(line), size)]
    return width, height, colors


def _unfiltered(kind: int, raw: bytes, above: bytearray, size: int) -> bytearray:
    line = bytearray(raw)
    for i in range(len(line)):
        left, up = (line[i - size] if i >= size else 0), above[i]
        corner = above[i - size] if i >= size else 0
        guess = left + up - corner
        paeth = min((left, up, corner), key=lambda value: abs(guess - value))
        line[i] = (line[i] + (0, left, up, (left + up) // 2, paeth)[kind]) & 255
    return line


@pytest.mark.parametrize(("scheme", "back"), [("light", (246, 247, 249)), ("dark", (20, 23, 28))])
def test_a_browser_shows_it(created: CommandLine, tmp_path: Path, scheme: str, back: tuple[int, int, int]) -> None:
    """Chromium opens the page, in light and dark, and what it draws has the colours of the timeline."""
    browser = shutil.which("chromium")
    if browser is None:
        refuse("no chromium here: run ./bootstrap.sh test")
    page, shot = tmp_path / "t.html", tmp_path / "t.png"
    created("cluster", "report", "t", "--html", str(page))
    scheme_words = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    subprocess.run(
        [
            str(browser), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *scheme_words,
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,800", f"--screenshot={shot}", page.as_uri(),
        ],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip

    width, height, colors = pixels(shot)
    assert (width, height) == (1000, 800)
    assert colors[0] == back
    for meaning, wanted in {"boot": (0x3F, 0x76, 0xD6), "done": (0x2E, 0x85, 0x40)}.items():
        assert colors.count(wanted) > 50, meaning
