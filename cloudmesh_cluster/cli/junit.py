"""Results of checks as JUnit XML, which every CI server reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as XML

from cloudmesh_cluster.cli.output import printable
from cloudmesh_cluster.errors import UsageError
from cloudmesh_cluster.model import CheckResult


def write_junit(path: str, cluster: str, results: Sequence[CheckResult]) -> None:
    """Write results of checks to a file.

    Raises:
        UsageError: it cannot be written.

    """
    suite = XML.Element(
        "testsuite", name=f"cm cluster verify {cluster}", tests=str(len(results)),
        failures=str(sum(not each.ok for each in results)), errors="0",
        time=f"{max((each.seconds for each in results), default=0.0):.3f}",
    )  # fmt: skip
    for each in results:
        case = XML.SubElement(suite, "testcase", classname=each.check, name=each.node, time=f"{each.seconds:.3f}")
        if not each.ok:
            message = printable(f"expected {each.expected}, found {each.actual}")
            XML.SubElement(case, "failure", message=message).text = message
    try:
        XML.ElementTree(suite).write(Path(path).expanduser(), encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
