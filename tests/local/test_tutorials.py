"""The walk-through of docs/plugins.md, typed line by line. The tutorial is typed in test_hadoop.py."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import ROOT, CommandLine
from tests.support.pages import section, shown_files, typed_lines
from tests.support.plugin_folder import write_plugin
from tests.support.typed import type_lines, with_cm_on_path


def test_plugin_of_the_walk_through_runs(cm: CommandLine, tmp_path: Path) -> None:
    """The plugin that docs/plugins.md builds installs, passes its checks and answers from a worker."""
    page = ROOT / "docs" / "plugins.md"
    write_plugin(cm.home, "redis", shown_files(page))

    said = type_lines(with_cm_on_path(cm, tmp_path / "bin"), typed_lines(section(page, "A plugin of your own")))

    [answer] = [output for line, output in said.items() if "redis-cli" in line]
    assert "works" in answer
