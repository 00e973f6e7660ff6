"""The documentation speaks of the program that is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cloudmesh_cluster.cli.commands.registry import TREE
from cloudmesh_cluster.cli.tree import Command, Parser, build
from cloudmesh_cluster.cli.words import split_words
from cloudmesh_cluster.config.profile import validate
from cloudmesh_cluster.plugins.reader import load_plugin
from tests.support.pages import shown_files, typed_lines

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("scripts/*/README.md")])
SHELL_OPERATORS = ("<", ">", ">>", "|")


def read(page: Path) -> str:
    """Return the text of a page."""
    return page.read_text(encoding="utf-8")


def shown_lines() -> list[tuple[str, str]]:
    """Return every line that calls `cm` in a console block, with the page it stands on."""
    return [(page.name, line) for page in PAGES for line in typed_lines(read(page)) if line.startswith("cm ")]


def words_of(line: str) -> list[str]:
    """Return what the operating system's shell would hand to `cm`."""
    words = shlex.split(line, comments=True)
    return words[: next((at for at, word in enumerate(words) if word in SHELL_OPERATORS), None)]


def section_of(command: Command) -> str:
    """Return what docs/commands.md says below the heading of a command; empty where there is no heading."""
    parts = re.split(r"^### ", read(ROOT / "docs" / "commands.md"), flags=re.MULTILINE)
    return next((part for part in parts if part.splitlines()[0] == f"cm {command.name}"), "")


@pytest.mark.parametrize("command", TREE.commands, ids=lambda command: str(command.name))
def test_command_is_documented(command: Command) -> None:
    """Each command has a section in docs/commands.md that names each of its options in every spelling."""
    section = section_of(command)
    assert section, f"docs/commands.md has no heading '### cm {command.name}'"
    options = {flag for each in command.all_arguments if each.is_option for flag in each.flags} - {"--debug"}
    unnamed = [flag for flag in sorted(options) if not re.search(rf"`[^`]*(?<![-\w]){flag}(?![-\w])", section)]
    assert unnamed == []


def test_no_command_is_documented_that_is_not_there() -> None:
    """Every heading of docs/commands.md that reads like a command is one."""
    headings = re.findall(r"^### cm (.+)$", read(ROOT / "docs" / "commands.md"), re.MULTILINE)

    assert sorted(headings) == sorted(command.name for command in TREE.commands)


@pytest.mark.parametrize(("page", "line"), shown_lines())
def test_shown_line_parses(page: str, line: str) -> None:
    """What a page tells the reader to type is understood by the real parser."""
    words = words_of(line)[1:]
    if words == ["--version"]:
        return
    split = split_words(words, TREE)

    assert split.command is not None, f"{page}: {line}"
    build(TREE, Parser).parse_args(split.own)


@pytest.mark.parametrize("command", TREE.commands, ids=lambda command: str(command.name))
def test_examples_parse(command: Command) -> None:
    """The examples in a command's help are lines of that command which the parser takes."""
    assert command.examples
    for example in command.examples:
        split = split_words(words_of(example), TREE)
        assert split.command is command
        build(TREE, Parser).parse_args(split.own)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that is there, and a heading that it has."""
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", read(page)):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", read(linked), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{page.name}: {target}"


def test_the_profile_with_everything_is_valid(tmp_path: Path) -> None:
    """The example in docs/profiles.md has no problem, and no key of a profile is missing from it."""
    [example] = re.findall(r"^```yaml\n(.*?)^```", read(ROOT / "docs" / "profiles.md"), re.MULTILINE | re.DOTALL)
    (tmp_path / "lab.yaml").write_text(example)
    (tmp_path / "scripts").mkdir()
    for script in re.findall(r"- (scripts/\S+)", example):
        (tmp_path / script).write_text("true\n")

    assert validate(tmp_path / "lab.yaml") == []
    assert re.findall(r"^(\w+):", example, re.MULTILINE) == [
        *("name", "provider", "user", "mesh", "listen_to", "roles", "plugins", "scripts", "checks"),
    ]


def test_the_plugin_of_the_walk_through_is_valid(home: Path) -> None:
    """The plugin that docs/plugins.md builds loads without a problem."""
    folder = home / "plugins" / "redis"
    folder.mkdir(parents=True)
    for name, content in shown_files(ROOT / "docs" / "plugins.md").items():
        (folder / name).write_text(content)

    plugin = load_plugin(folder)

    assert plugin.packages == ("redis-server", "redis-tools", "nftables")
    assert [check.name for check in plugin.checks] == ["every node reaches redis", "redis keeps what it is given"]
    assert (folder / "master.sh").read_text().startswith("#!/bin/bash\n")
