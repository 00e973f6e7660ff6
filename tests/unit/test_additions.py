"""`template:` of a profile: what is added to the stack, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudmesh_cluster.config.profile import load_profile, with_overrides
from cloudmesh_cluster.config.profile_yaml import to_yaml
from cloudmesh_cluster.core.codec import decode, encode
from cloudmesh_cluster.core.errors import InvalidInput
from cloudmesh_cluster.core.model import Additions, Profile
from cloudmesh_cluster.providers.openstack.template import grown, render
from tests.support.command_line import CommandLine
from tests.unit.test_template import stack

EXTRA = """\
heat_template_version: 2018-08-31
parameters:
  size: {type: number, default: 10}
resources:
  scratch:
    type: OS::Cinder::Volume
    properties: {size: {get_param: size}, description: "\U0001f418 'x' \\"y\\"", read_only: false, at: 2026-01-01}
outputs:
  scratch_id: {value: {get_resource: scratch}}
"""


def profile(folder: Path, **files: str) -> Profile:
    """Return a profile whose template is a folder of these files."""
    (folder / "extra").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "extra" / f"{name}.yaml").write_text(text, encoding="utf-8")
    (folder / "p.yaml").write_text("template: extra\n", encoding="utf-8")
    return load_profile(folder / "p.yaml")


def additions(folder: Path, **files: str) -> Additions:
    """Return what such a profile adds."""
    found = profile(folder, **files).template
    assert found is not None
    return found


def rendered(**given: Any) -> dict[str, Any]:
    """Return a cluster's template as Heat reads it."""
    found = yaml.load(render(stack(**given)), Loader=yaml.BaseLoader)  # noqa: S506 (all values stay text)
    assert isinstance(found, dict)
    return found


def test_all_sections_are_merged(tmp_path: Path) -> None:
    """Parameters, resources and outputs are in the stack's template as they were written, beside those of cm."""
    found = additions(tmp_path, extra=EXTRA)
    text = render(stack(additions=found, description="{}"))
    merged, own = yaml.safe_load(text), yaml.safe_load(render(stack(description="{}")))

    assert merged["resources"]["scratch"] == found.resources["scratch"]
    assert merged["resources"]["scratch"]["properties"] == {
        "size": {"get_param": "size"}, "description": "\U0001f418 'x' \"y\"", "read_only": False, "at": "2026-01-01",
    }  # fmt: skip
    assert merged["parameters"].pop("size") == {"type": "number", "default": 10}
    assert merged["outputs"].pop("scratch_id") == {"value": {"get_resource": "scratch"}}
    del merged["resources"]["scratch"]
    assert merged == own


def test_several_files(tmp_path: Path) -> None:
    """A folder's templates are one."""
    found = additions(tmp_path, a="resources: {a: {type: OS::Heat::None}}", b="resources: {b: {type: OS::Heat::None}}")

    assert list(found.resources) == ["a", "b"]


def test_it_stays_with_the_profile(tmp_path: Path) -> None:
    """Neither --set nor the journal loses it, and what is shown reads back as the same."""
    given = profile(tmp_path, extra=EXTRA)
    (tmp_path / "shown.yaml").write_text(to_yaml(given), encoding="utf-8")

    assert with_overrides(given, settings=["mesh=none"]).template == given.template
    assert decode(Profile, encode(given)).template == given.template
    assert load_profile(tmp_path / "shown.yaml").template == given.template


def test_growing_keeps_it(tmp_path: Path) -> None:
    """A growth leaves what was added, even when the profile does not say it any more."""
    now = yaml.safe_load(render(stack(additions=additions(tmp_path, extra=EXTRA))))
    more = grown(now, yaml.safe_load(render(stack((3,)))), indices=[3])

    assert more["resources"]["scratch"] == now["resources"]["scratch"]
    assert more["parameters"]["size"] == now["parameters"]["size"]
    assert more["outputs"] == now["outputs"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("resources: {network: {type: OS::Heat::None}}", "1:22: resources.network: 'network' is a name of cm's own"),
        ("resources: {server_7: {type: OS::Heat::None}}", "'server_7' is a name of cm's own"),
        ("resources: {user_data: {type: OS::Heat::None}}", "'user_data' is a name of cm's own"),
        ("outputs: {cm_cluster: {value: 1}}", "'cm_cluster' is a name of cm's own"),
        ("parameters: {network: {type: string, default: x}}", "'network' is a name of cm's own"),
        ("parameters: {x: {type: string}}", "parameters.x: has no default"),
        ("resources: {x: {properties: {}}}", "resources.x.type: "),
        ("resources: {x: {type: other.yaml}}", "templates in other files"),
        ("resources: {x: {type: 'http://example.org/x'}}", "templates in other files"),
        ("resources: {x: {type: OS::Heat::Value, properties: {value: {get_file: /etc/shadow}}}}", "get_file"),
        ("resources: {x: {type: a}, x: {type: b}}", "resources.x: "),
        ("resources: []", "resources: expected a mapping"),
        ("conditions: {x: true}", "conditions: unknown key"),
        ("outputs: {x: {}}", "outputs.x: has no value"),
        ("a: [", "extra.yaml:"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """What conflicts with the stack, or needs other files, is a problem that names file, place and key."""
    with pytest.raises(InvalidInput) as caught:
        profile(tmp_path, extra=text)

    assert problem in caught.value.message
    assert f"{tmp_path}/extra/extra.yaml:" in caught.value.message
    assert f"{tmp_path}/p.yaml:1:11: template: " in caught.value.message


def test_the_same_name_twice(tmp_path: Path) -> None:
    """Two files that have the same resource are refused, naming it."""
    one = "resources: {x: {type: OS::Heat::None}}"
    with pytest.raises(InvalidInput, match="b.yaml: resources.x is in another file"):
        profile(tmp_path, a=one, b=one)


@pytest.mark.parametrize("path", ["missing.yaml", "empty"])
def test_nothing_there(tmp_path: Path, path: str) -> None:
    """A file that is not there, and a folder without templates, are problems."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "p.yaml").write_text(f"template: {path}\n")
    with pytest.raises(InvalidInput, match=f"template: .*{path}"):
        load_profile(tmp_path / "p.yaml")


def test_other_providers_make_no_stack(cm: CommandLine, tmp_path: Path) -> None:
    """Where there is no stack to add to, a profile with a template is wrong usage."""
    profile(tmp_path, extra=EXTRA)
    answer = cm("cluster", "create", "t", "-p", f"{tmp_path}/p.yaml", "--provider", "local", "--dry-run", expect=2)

    assert "template: provider local (--provider) makes no stack" in answer.stderr
