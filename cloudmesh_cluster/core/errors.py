"""Every error that `cm` raises on purpose.

An error carries what happened as fields; words are made of them only where they are shown (`cli/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudmesh_cluster.core.model import CheckResult, CommandResult, Leftover, Problem


class CmError(Exception):
    """The root of all errors of this package.

    Args:
        message: what failed, where and why, as one line.
        hint: the next command to type, or what to change; may be empty.

    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(hint)  # Python shows it below a traceback


class UsageError(CmError):
    """Wrong usage or invalid input; nothing was touched."""

    exit_code = 2


class InvalidInput(UsageError):
    """Input with one or more problems, which are reported together."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = tuple(problems)


class NotFound(UsageError):
    """A cluster, node, role, profile, plugin or target that does not exist.

    Args:
        kind: what was looked for ("cluster", "profile"...).
        name: the name that was given.
        known: the names that do exist.

    """

    def __init__(self, kind: str, name: str, known: Sequence[str] = (), *, hint: str = "") -> None:
        super().__init__(f"no {kind} named {name!r}", hint=hint or did_you_mean(name, known))
        self.kind = kind
        self.name = name
        self.known = tuple(known)


class NameTaken(UsageError):
    """A cluster of that name exists already."""


@dataclass(frozen=True)
class LockHolder:
    """Who holds the lock of a cluster: process, command and since when (ISO 8601)."""

    pid: int
    operation: str
    since: str


class ClusterBusy(UsageError):
    """Another operation works on the cluster."""

    def __init__(self, cluster: str, holder: LockHolder | None) -> None:
        who = f"{holder.operation} (process {holder.pid}, since {holder.since})" if holder else "another operation"
        super().__init__(f"cluster {cluster!r} is busy: {who}", hint="wait until it has ended, then try again")
        self.cluster = cluster
        self.holder = holder


class ProviderError(CmError):
    """A provider could not do what was asked; `status` is the HTTP status that a cloud has answered, if it has."""

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Unreachable(CmError):
    """A node did not answer over SSH."""

    def __init__(self, node: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{node} is not reachable: {reason}", hint=hint)
        self.node = node
        self.reason = reason


class HostKeyMismatch(Unreachable):
    """What answered is not the node that is known under this name."""


class LoginDenied(Unreachable):
    """The node does not let the login user in."""


class OutOfTime(CmError):
    """An operation took longer than it was given; `seconds` is how long that was."""

    def __init__(self, seconds: float, *, undone: str, hint: str = "") -> None:
        super().__init__(f"out of time after {seconds:g} s; not done: {undone}", hint=hint)
        self.seconds = seconds


class RemoteFailed(CmError):
    """Commands or scripts failed on nodes; `results` holds every node's answer."""

    def __init__(self, message: str, results: Sequence[CommandResult], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.results = tuple(results)


class ChecksFailed(CmError):
    """A check failed; `results` holds all results, good and bad, `headline` says how many failed."""

    exit_code = 3

    def __init__(self, results: Sequence[CheckResult], *, hint: str = "") -> None:
        failed = [result for result in results if not result.ok]
        self.headline = f"{len(failed)} of {len(results)} checks failed"
        super().__init__(
            f"{self.headline}: "
            + "; ".join(f"{r.check} on {r.node}: {r.actual}" for r in failed[:3])
            + ("; ..." if len(failed) > 3 else ""),
            hint=hint,
        )
        self.results = tuple(results)


class InvalidAddress(UsageError, ValueError):
    """The address of a scheduler is invalid."""


class InvalidOption(UsageError, ValueError):
    """An option of a scheduler, a worker or a map has a value that it can't have."""


class LibraryMissing(UsageError, ImportError):
    """A library that is not part of every installation is needed, and is not there."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed here", hint=f"pip install 'cloudmesh-cluster[{extra}]'")
        self.library = library
        self.extra = extra


class ConnectionFailed(CmError, ConnectionError):
    """A scheduler or worker could not be started, reached or kept."""


class CallFailed(CmError):
    """A function failed for one of the arguments of a map; what it raised is the cause.

    Args:
        index: where the argument stands in the list, from 0.
        argument: the argument itself.
        error: what the function raised.
        trace: the traceback, as text, of the process that called the function.

    """

    def __init__(self, index: int, argument: object, error: BaseException, trace: str = "") -> None:
        super().__init__(f"argument {index} ({_short(argument)}): {type(error).__name__}: {error}")
        self.index = index
        self.argument = argument
        self.error = error
        self.trace = trace


def _short(value: object) -> str:
    import reprlib

    return reprlib.repr(value)


class OperationFailed(CmError):
    """An operation failed and was undone as asked; the cause is chained.

    Args:
        operation: its id.
        cause: what made it fail.
        logs: the folder that holds the evidence.
        outcome: what was done about it: "rolled back", "kept", "undone", "rebuilt".

    """

    def __init__(self, operation: str, cause: BaseException, *, logs: str, outcome: str, hint: str = "") -> None:
        out_of_time = "out of time" if isinstance(cause, TimeoutError) else type(cause).__name__
        super().__init__(str(cause) or out_of_time, hint=hint or getattr(cause, "hint", ""))
        self.operation = operation
        self.cause = cause
        self.logs = logs
        self.outcome = outcome


class LeftBehind(CmError):
    """An undo was tried and failed, or something is left: each leftover by kind and id."""

    exit_code = 4

    def __init__(self, leftovers: Sequence[Leftover], *, message: str = "", hint: str = "") -> None:
        listed = ", ".join(f"{leftover.kind} {leftover.id}" for leftover in leftovers)
        super().__init__(f"{message + ': ' if message else ''}left behind: {listed}", hint=hint)
        self.leftovers = tuple(leftovers)


class Interrupted(CmError):
    """The user pressed Ctrl-C."""

    exit_code = 130


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a hint that names the closest of `known`, else all of them, else nothing."""
    from difflib import get_close_matches

    if close := get_close_matches(word, known, n=1):
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if known else ""
