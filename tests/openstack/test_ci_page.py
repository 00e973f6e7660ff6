"""The pipeline of docs/ci.md, run as a CI system runs it, with nothing but an application credential."""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.openstack.test_cluster import things_of
from tests.support.command_line import ROOT, CommandLine
from tests.support.devcloud_clients import Devcloud
from tests.support.pages import shown_files

PAGE = ROOT / "docs" / "ci.md"
JOB = secrets.token_hex(3)
NAME = f"ci-{JOB}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the folder of a project that has the page's files."""
    for name, content in shown_files(PAGE).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def variables(devcloud: Devcloud) -> Iterator[dict[str, str]]:
    """Return the masked variables of the pipeline: those of an application credential made for it."""
    identity, user = devcloud.connection.identity, devcloud.connection.current_user_id
    made = identity.create_application_credential(user, NAME, unrestricted=True)
    yield {
        "OS_AUTH_URL": devcloud.cloud.url("keystone") + "/v3",
        "OS_REGION_NAME": "RegionOne",
        "OS_APPLICATION_CREDENTIAL_ID": made.id,
        "OS_APPLICATION_CREDENTIAL_SECRET": made.secret,
    }
    identity.delete_application_credential(user, made)


def run_job(cm: CommandLine, project: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the page's job, and return what became of its script; its `after_script` must succeed in any case."""
    (job,) = yaml.safe_load((project / ".gitlab-ci.yml").read_text(encoding="utf-8")).values()
    command = project / "bin" / "cm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.join(cm.argv())} "$@"\n')
    command.chmod(0o755)
    own = {name: value.replace("$CI_PROJECT_DIR", str(project)) for name, value in job["variables"].items()}
    environment = {
        **cm.environment(), **variables, **own, "CI_JOB_ID": JOB, "WORKERS": "1",
        "PATH": f"{command.parent}:{cm.environment()['PATH']}",
    }  # fmt: skip
    environment.pop("OS_CLIENT_CONFIG_FILE")
    done, after = (
        subprocess.run(
            ["bash", "-ec", "\n".join(job[part])],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            timeout=300,
        )
        for part in ("script", "after_script")
    )
    assert after.returncode == 0, after.stdout + after.stderr
    return done


def failures_of(report: Path) -> tuple[list[Any], list[Any]]:
    """Return all test cases of a JUnit report, and those that failed."""
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 (our own)
    return cases, [case for case in cases if case.find("failure") is not None]


def test_pipeline_of_the_page(cm: CommandLine, devcloud: Devcloud, project: Path, variables: dict[str, str]) -> None:
    """The job passes, reports a ready cluster and all checks, and leaves nothing in the cloud."""
    done = run_job(cm, project, variables)
    assert done.returncode == 0, done.stdout + done.stderr
    reports = project / "reports"
    cases, failed = failures_of(reports / "checks.xml")

    assert json.loads((reports / "cluster.json").read_text())["cluster"]["state"] == "ready"
    assert any(case.get("name", "").startswith("scripts") for case in cases)
    assert failed == []
    assert all(check["ok"] for check in json.loads((reports / "checks.json").read_text()))
    assert json.loads((reports / "events.json").read_text()), "the events of the job are kept"
    assert things_of(devcloud, NAME) == []


def test_pipeline_with_wrong_credentials(cm: CommandLine, project: Path, variables: dict[str, str]) -> None:
    """The job fails at once with the code for wrong usage, and says why."""
    done = run_job(cm, project, {**variables, "OS_APPLICATION_CREDENTIAL_SECRET": "wrong"})

    assert done.returncode == 2
    assert "the cloud refuses the credentials" in done.stderr
