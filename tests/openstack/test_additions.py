"""Resources of the user's own in the stack of a cluster, as a real Heat takes them; nothing boots."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import yaml

from tests.support.command_line import CommandLine
from tests.support.devcloud_clients import Devcloud

NAME = f"x{secrets.token_hex(3)}"
TEXT = "🐘 <b> & 'x' \"y\" \\ü"
EXTRA = {
    "parameters": {"greeting": {"type": "string", "default": TEXT}},
    "resources": {
        "note": {"type": "OS::Heat::Value", "properties": {"value": {"get_param": "greeting"}}},
        "whole": {"type": "OS::Heat::Value", "properties": {"value": TEXT}},
    },
    "outputs": {
        "by_parameter": {"value": {"get_attr": ["note", "value"]}},
        "by_value": {"value": {"get_attr": ["whole", "value"]}},
        "master": {"value": {"get_attr": ["server_0", "name"]}},
    },
}


def test_additions_are_a_part_of_the_stack(cm: CommandLine, fake_devcloud: Devcloud, tmp_path: Path) -> None:
    """Parameters, resources and outputs of a profile's template are in the stack, every character as it was written."""
    (cm.home / "providers.yaml").touch(mode=0o600)
    (cm.home / "providers.yaml").write_text("fake: {type: openstack, os_cloud: devcloud-fake, signal: ssh}\n")
    (tmp_path / "extra.yaml").write_text(yaml.safe_dump(EXTRA, allow_unicode=True), encoding="utf-8")
    (tmp_path / "p.yaml").write_text("template: extra.yaml\n")
    create = ("cluster", "create", NAME, "-p", str(tmp_path / "p.yaml"), "--provider", "fake", "-n", "1")
    cm(*create, "--dry-run", "--output", str(tmp_path / "files"))
    template, given = ((tmp_path / "files" / each).read_text() for each in ("template.yaml", "env.yaml"))
    try:
        outputs = fake_devcloud.create_stack(f"cm-{NAME}", template, **yaml.safe_load(given)["parameters"])
    finally:
        fake_devcloud.delete_stack(f"cm-{NAME}")

    assert outputs["by_parameter"] == outputs["by_value"] == TEXT
    assert outputs["master"] == f"{NAME}-master"
    assert json.loads(outputs["cm_cluster"])["profile"]["template"]["resources"] == EXTRA["resources"]
