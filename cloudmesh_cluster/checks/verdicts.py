"""Verdicts: what a check runs on a node, what it expects, and what the answer means. Pure functions of data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from cloudmesh_cluster.core.amounts import counted
from cloudmesh_cluster.core.model import Check, CheckResult, CommandResult

LONGEST_ACTUAL = 160
NO_ANSWER = -1

# A listener bound to localhost only is no service to the other nodes: the own name stands for the private address.
_PORT_PROBE = """\
name=${{CM_NODE:-$(hostname)}}
answers() {{ timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" {port} 2>/dev/null; }}
if answers "$name"; then echo "port {port} answers"; exit 0; fi
if answers localhost; then echo "port {port} answers on localhost only" >&2; exit 1; fi
echo "nothing answers on port {port}" >&2
exit 1
"""
_FILE_PROBE = """\
if [ ! -e {file} ]; then echo "there is no file "{file} >&2; exit 1; fi
"""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def check_command(check: Check) -> str:
    """Return the bash text that a check runs on a node."""
    if check.port is not None:
        return _PORT_PROBE.format(port=int(check.port))
    if check.file is not None:
        file = shlex.quote(check.file)
        wanted = check.expect.stdout is not None or check.expect.count is not None
        return _FILE_PROBE.format(file=file) + (f"cat -- {file}\n" if wanted else "")
    return check.run or ""


def expected_text(check: Check) -> str:
    """Return what a check expects, in one short line."""
    expect = check.expect
    parts: list[str] = []
    if check.port is not None:
        parts.append(f"port {check.port} " + ("does not answer" if expect.exit else "answers"))
    elif check.file is not None:
        parts.append(f"{check.file} " + ("does not exist" if expect.exit else "exists"))
    elif expect.exit is not None and (expect.exit or not _has_output(check)):
        parts.append(f"exit {expect.exit}")
    if expect.stdout is not None:
        parts.append(f"stdout ~ {expect.stdout}")
    if expect.stderr is not None:
        parts.append(f"stderr ~ {expect.stderr}")
    if expect.count is not None:
        parts.append(counted(expect.count, "line"))
    return ", ".join(parts) or "any answer"


def judge(check: Check, result: CommandResult) -> CheckResult:
    """Return the verdict on a node's answer; no answer at all is always a failure."""
    complaint = next(_complaints(check, result), None)
    return CheckResult(
        check=check.name,
        node=result.node,
        expected=expected_text(check),
        actual=one_line(_found(check, result) if complaint is None else complaint),
        ok=complaint is None,
        seconds=result.seconds,
    )


def one_line(text: str, *, longest: int = LONGEST_ACTUAL) -> str:
    """Return a text as one line without control characters, shortened to `longest` characters."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def _complaints(check: Check, result: CommandResult) -> Iterator[str]:
    expect = check.expect
    if result.exit == NO_ANSWER:
        yield f"no answer: {_last_line(result) or 'timed out'}"
    if expect.exit is not None and result.exit != expect.exit:
        yield f"exit {result.exit}: {_last_line(result)}".removesuffix(": ")
    if expect.stdout is not None and re.search(expect.stdout, result.stdout) is None:
        yield f"stdout: {result.stdout.strip() or 'empty'}"
    if expect.stderr is not None and re.search(expect.stderr, result.stderr) is None:
        yield f"stderr: {result.stderr.strip() or 'empty'}"
    if expect.count is not None and (count := len(result.stdout.splitlines())) != expect.count:
        yield f"{counted(count, 'line')}: {result.stdout.strip()}".removesuffix(": ")


def _found(check: Check, result: CommandResult) -> str:
    expect = check.expect
    if expect.stdout is not None and (match := re.search(expect.stdout, result.stdout)):
        return match[0].strip() or result.stdout.strip() or "empty"
    if expect.stderr is not None and (match := re.search(expect.stderr, result.stderr)):
        return match[0].strip() or result.stderr.strip() or "empty"
    if expect.count is not None:
        return counted(expect.count, "line")
    return expected_text(check) if check.run is None else f"exit {result.exit}"


def _has_output(check: Check) -> bool:
    expect = check.expect
    return not (expect.stdout is None and expect.stderr is None and expect.count is None)


def _last_line(result: CommandResult) -> str:
    lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return lines[-1] if lines else ""
