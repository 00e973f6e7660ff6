"""`cm cluster write`: a script for a role, run at once, judged, remembered when it is good, else undone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cloudmesh_cluster.core.errors import NotFound, UsageError
from cloudmesh_cluster.core.events import Emit, now
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CommandResult, Node, ScriptExpectation
from cloudmesh_cluster.core.redaction import redact
from cloudmesh_cluster.core.targets import select
from cloudmesh_cluster.nodes.scripts import digest
from cloudmesh_cluster.operations.session import Session
from cloudmesh_cluster.operations.steps.host_keys import refuse_rebuild
from cloudmesh_cluster.operations.steps.preconditions import require_running
from cloudmesh_cluster.operations.steps.scripts import judge_script, run_script, test_script
from cloudmesh_cluster.operations.transaction.operation import session
from cloudmesh_cluster.state.records import WrittenScript
from cloudmesh_cluster.state.store import State

Recovery = Literal["undo", "rebuild", "keep"]
ROLES = ("all", "master", "worker")
OUTCOMES = {"undo": "undone", "rebuild": "rebuilt", "keep": "kept"}


@dataclass(frozen=True)
class WriteRequest:
    """A script to write.

    Args:
        name: of the cluster.
        role: "all", "master" or "worker" (or "head", "compute").
        content: the script.
        script_name: what it is called in lists and logs.
        expect: a pattern that its output must match.
        expect_exit: the exit status it must have.
        test: a shell line that must exit 0 afterwards, run as root.
        undo: a script that takes it back.
        on_failure: None is "undo" where there is an undo script, else "keep".
        run: False stores it for nodes to come only.
        timeout: seconds on each node, for the script, its test and its undo each, now and on nodes that come later.

    """

    name: str
    role: str
    content: bytes
    script_name: str
    expect: str | None = None
    expect_exit: int = 0
    test: str | None = None
    undo: bytes | None = None
    on_failure: Recovery | None = None
    run: bool = True
    timeout: float | None = None

    @property
    def recovery(self) -> Recovery:
        """What is done when the script fails."""
        return self.on_failure or ("undo" if self.undo is not None else "keep")


@dataclass(frozen=True)
class WriteResult:
    """What came of a script: every node's answer, its digest, its place in the order, the folder of its output."""

    results: tuple[CommandResult, ...]
    digest: str
    order: int
    logs: str


async def write(home: Home, request: WriteRequest, emit: Emit) -> WriteResult:
    """Store a script and run it on all nodes of its role at once.

    Raises:
        UsageError: the role or an option is wrong; nothing was touched.
        OperationFailed: it failed on a node; it is not remembered, and was undone as asked.

    """
    request = replace(request, role=_role(request.role), script_name=_safe(redact(request.script_name)))
    _check(request)

    def refuse(state: State) -> None:
        require_running(home, request.name, states=("ready",))(state)
        if request.recovery == "rebuild" and state.record(request.name).provider_type == "baremetal":
            hint = "--undo FILE, or --on-failure keep"
            raise UsageError("machines that exist have no image to be rebuilt from", hint=hint)
        if request.recovery == "rebuild":
            refuse_rebuild(select(state.cluster(request.name).nodes, request.role))

    async with session(
        home, request.name, "write", request, emit=emit, on_failure="rollback", outcome=OUTCOMES[request.recovery],
        refuse=refuse,
    ) as current:  # fmt: skip
        return await carry_out(current, request)


def _role(word: str) -> str:
    role = {"head": "master", "compute": "worker"}.get(word, word)
    if role not in ROLES:
        raise NotFound("role", word, ROLES)
    return role


def _safe(name: str) -> str:
    """Return a script's name as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "script"


def _check(request: WriteRequest) -> None:
    if not request.content.strip():
        raise UsageError("the script is empty")
    if request.on_failure == "undo" and request.undo is None:
        raise UsageError("--on-failure undo needs a script that takes it back", hint="--undo FILE")
    try:
        re.compile(request.expect or "")
    except re.error as error:
        what = f"--expect {request.expect!r} is not a pattern: {error}"
        raise UsageError(what, hint="a regular expression of Python's") from error


async def carry_out(current: Session, request: WriteRequest) -> WriteResult:
    """Store, run, judge and remember the script; also again, when an earlier process left it unfinished."""
    expectation = ScriptExpectation(request.expect_exit, request.expect, request.test, request.timeout)
    nodes = select(current.cluster.nodes, request.role)
    script = _stored(current, request, expectation)
    results: Sequence[CommandResult] = ()
    if request.run and script.state != "remembered":
        with current.journal.step(f"script {script.name}", undo=_undo(request, script, nodes)):
            async with current.connections() as connections:
                results = await run_script(current, connections, nodes, script)
                judge_script(current, script, results)
                await test_script(current, connections, nodes, script)
    current.state.remember_script(script.id, waived=[] if request.run else [node.name for node in nodes])
    order = [each.id for each in current.state.scripts(current.name)].index(script.id) + 1
    return WriteResult(tuple(results), script.digest, order, current.logs)


def _stored(current: Session, request: WriteRequest, expectation: ScriptExpectation) -> WrittenScript:
    """Return the script of this operation, stored once however often it is resumed."""
    for script in current.state.scripts(current.name):
        if script.operation == current.journal.operation.id:
            return script
    script = WrittenScript(
        0, request.role, request.script_name, digest(request.content), request.content, now(), "running",
        current.journal.operation.id, expectation,
    )  # fmt: skip
    return replace(script, id=current.state.add_script(current.name, script))


def _undo(request: WriteRequest, script: WrittenScript, nodes: Sequence[Node]) -> dict[str, Any]:
    names = [node.name for node in nodes]
    undo: dict[str, Any] = {"kind": "script", "script": script.id, "recovery": request.recovery, "nodes": names}
    if request.recovery == "undo" and request.undo is not None:
        undo["content"] = request.undo.decode("utf-8", errors="surrogateescape")
    return undo
