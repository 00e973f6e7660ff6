"""`template:` of a profile: a Heat template of the user's own, whose resources become a part of the cluster's stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cloudmesh_cluster.core.heat_names import is_own
from cloudmesh_cluster.core.model import Additions, Problem
from cloudmesh_cluster.core.yaml_reader import Source, Value

SECTIONS = ("parameters", "resources", "outputs")


def read_additions(value: Value, folder: Path) -> Additions | None:
    """Read what a profile adds to its stack: a file, or all `*.yaml` of a folder.

    Args:
        value: the path, as the profile says it; problems of the files are reported there.
        folder: what the path is relative to.

    """
    if value.missing or not value.is_scalar:
        value.text(None)
        return None
    path = folder / Path(value.text("")).expanduser()
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        value.report(f"there is no *.yaml in {str(path)!r}", hint="a Heat template, or a folder of some")
    sections: dict[str, dict[str, object]] = {name: {} for name in SECTIONS}
    for file in files:
        for name, entries in _read_file(value, file).items():
            for key in sorted(entries.keys() & sections[name].keys()):
                value.report(f"{file}: {name}.{key} is in another file of that folder, too", hint="name it otherwise")
            sections[name] |= entries
    return Additions(str(path.absolute()), **sections)


def check_sections(sections: Mapping[str, object], *, name: str) -> list[Problem]:
    """Return what is wrong with additions that did not come from files of the user's; `name` stands for them."""
    source = Source.of_plain(dict(sections), name=name)
    _check(source)
    asked = [Problem(f"{name}: {where}", "get_file is not possible here") for where in files_asked_for(sections)]
    return [*source.problems, *asked]


def _check(source: Source) -> None:
    for section in SECTIONS:
        if not source[section].missing and not source[section].is_mapping:
            source[section].report("expected a mapping")
            continue
        for name, body in source[section].entries() if source[section].is_mapping else ():
            _check_entry(section, str(name), body)


def _read_file(value: Value, file: Path) -> dict[str, dict[str, Any]]:
    source = Source.read(file)
    source["heat_template_version"].text(None)
    source["description"].text(None)
    _check(source)
    problems = source.problems
    for problem in problems:
        value.report(str(problem))
    if problems:
        return {}
    data = _typed(file)
    for where in files_asked_for(data):
        value.report(f"{file}: {where}: get_file is not possible here", hint="write the text into the template")
    return {name: data.get(name) or {} for name in SECTIONS}


def _check_entry(section: str, name: str, body: Value) -> None:
    if is_own(name):
        body.report(f"{name!r} is a name of cm's own template", hint=f"name it otherwise: my_{name}")
    if not body.is_mapping:
        body.report("expected a mapping")
        return
    # Whatever else an entry has, Heat judges.
    keys = {str(key) for key, _ in body.entries()}
    if section == "resources":
        kind = body["type"].required().text("")
        if "/" in kind or kind.endswith((".yaml", ".template")):
            body["type"].report("templates in other files are not possible here", hint="write its resources here")
    if section == "parameters" and "default" not in keys:
        body.report("has no default, and nobody is there to give a value", hint="default: VALUE")
    if section == "outputs" and "value" not in keys:
        body.report("has no value")
    for key in keys:
        body[key].plain()


def files_asked_for(data: Any, where: str = "") -> Iterator[str]:
    """Yield the places where a template asks for a file."""
    if isinstance(data, Mapping):
        for key, each in data.items():
            if key == "get_file":
                yield where
            yield from files_asked_for(each, f"{where}.{key}".lstrip("."))
    elif isinstance(data, list):
        for index, each in enumerate(data):
            yield from files_asked_for(each, f"{where}.{index}")


def _typed(file: Path) -> dict[str, Any]:
    """Return a template with numbers and truth values as Heat reads them; times are text."""
    import yaml

    def text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        return str(loader.construct_scalar(node))

    class Loader(yaml.SafeLoader):
        """Reads times as text, as Heat does."""

    Loader.add_constructor("tag:yaml.org,2002:timestamp", text)
    data = yaml.load(file.read_text(encoding="utf-8"), Loader=Loader)  # noqa: S506 (a SafeLoader)
    return data if isinstance(data, dict) else {}
