"""Check results as JUnit XML, which every CI system reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cloudmesh_cluster.core.model import CheckResult

# XML 1.0 has no way to write these, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Sequence[CheckResult], *, cluster: str) -> str:
    """Return check results as one test suite named after the cluster: a test case for each check and node."""
    import xml.etree.ElementTree as ET

    failures = sum(not result.ok for result in results)
    totals = {"tests": str(len(results)), "failures": str(failures), "errors": "0"}
    totals["time"] = f"{sum(result.seconds for result in results):.3f}"
    suites = ET.Element("testsuites", {"name": "cm cluster verify", **totals})
    suite = ET.SubElement(suites, "testsuite", {"name": cluster, **totals})
    for result in results:
        names = {"classname": f"{cluster}.{_clean(result.node)}", "name": _clean(result.check)}
        case = ET.SubElement(suite, "testcase", {**names, "time": f"{result.seconds:.3f}"})
        if not result.ok:
            failure = ET.SubElement(case, "failure", {"message": _clean(result.actual), "type": "check"})
            failure.text = _clean(f"expected: {result.expected}\nactual: {result.actual}\nnode: {result.node}\n")
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
