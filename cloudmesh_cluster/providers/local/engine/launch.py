"""Start a function of this package in a fresh, small Python process, and run jobs inside the user namespace."""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from cloudmesh_cluster.providers.local.engine import syscalls, userns
from cloudmesh_cluster.providers.local.engine.errors import EngineError, no_space
from cloudmesh_cluster.providers.local.engine.ids import Ids

MARKER = "CM_ENGINE"
"""The environment variable by which processes of an engine are found; its value is the folder they work for."""

_PACKAGE = "cloudmesh_cluster.providers.local.engine"
_ROOT = Path(__file__).resolve().parents[4]
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(_ROOT)!r}); import importlib; "
    f"sys.exit(importlib.import_module({_PACKAGE!r} + '.' + sys.argv[1]).main(sys.argv[2:]))"
)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_LAST_LINES = 12
_A_WHILE = 0.2


def command(module: str, *arguments: str) -> list[str]:
    """Return the words that run `main(arguments)` of a module of this package, without site packages."""
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, module, *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Return the small environment of an engine's process: marked, and nothing of the user's but proxies."""
    proxies = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    return {"PATH": userns.PATH, "HOME": "/nonexistent", "LANG": "C.UTF-8", MARKER: str(folder), **proxies}


def run_inside(
    job: Callable[..., None],
    arguments: Mapping[str, object],
    *,
    ids: Ids,
    folders: Mapping[str, Path],
    marker: Path | None = None,
    stdin: IO[bytes] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    still_wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Run a job as root of a fresh user, mount and PID namespace; it dies with the caller.

    Args:
        job: a top-level function of this package.
        arguments: its keyword arguments, as JSON knows them.
        ids: the maps of the user namespace.
        folders: see `userns.enter`.
        marker: the folder by which a leftover is found; None: the first of `folders`.
        stdin: what the job reads.
        on_line: told every line that the job prints.
        still_wanted: asked a few times a second; the job is killed when it says no.

    Raises:
        EngineError: the job failed (the message has the last lines that it printed), or is not wanted any more.

    """
    request = {
        "job": f"{job.__module__}:{job.__qualname__}",
        "arguments": dict(arguments),
        "uids": ids.uids,
        "gids": ids.gids,
        "folders": {name: str(folder) for name, folder in folders.items()},
    }
    with subprocess.Popen(
        command("launch", json.dumps(request)),
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(marker or next(iter(folders.values()))),
        cwd="/",
        start_new_session=True,
    ) as process:
        last = _follow(process, on_line, still_wanted)
    if process.returncode:
        raise _job_failed(last)


def _follow(
    process: subprocess.Popen[bytes], on_line: Callable[[str], None], still_wanted: Callable[[], bool]
) -> deque[str]:
    last: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        for line in _lines(process, still_wanted):
            last.append(line.rstrip())
            on_line(line.rstrip())
    except BaseException:  # when it is interrupted, too, the program ends; raised again
        process.kill()
        raise
    return last


def _lines(process: subprocess.Popen[bytes], still_wanted: Callable[[], bool]) -> Iterator[str]:
    if process.stdout is None:
        return
    output, rest = process.stdout.fileno(), b""
    poll = select.poll()
    poll.register(output, select.POLLIN)
    while still_wanted():
        if not poll.poll(_A_WHILE * 1000):
            continue
        if not (data := os.read(output, 65536)):
            if rest:
                yield rest.decode("utf-8", "replace")
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
    raise EngineError("interrupted")


def _job_failed(last: deque[str]) -> EngineError:
    if last and last[-1].startswith(_ERROR):
        message, hint = json.loads(last[-1].removeprefix(_ERROR))
        return EngineError(message, hint)
    for line in last:
        if "No space left on device" in line:
            return no_space(line.strip())
    errors = [line for line in last if line.startswith("E: ")]
    return EngineError("\n".join(errors or last) or "the job ended without a word")


_ERROR = "engine-error: "


def main(arguments: list[str]) -> int:
    """Be the process in which a job runs."""
    syscalls.die_with_parent(signal.SIGKILL)
    os.umask(0o022)
    request = json.loads(arguments[0])
    module, name = request["job"].split(":")
    job = getattr(importlib.import_module(module), name)
    ids = Ids(tuple(map(tuple, request["uids"])), tuple(map(tuple, request["gids"])))
    folders = {key: Path(value) for key, value in request["folders"].items()}
    parent = os.getppid()
    try:
        userns.enter(ids, syscalls.CLONE_NEWPID, folders=folders)
    except EngineError as error:
        _report(error)
        return 1
    syscalls.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        return 1
    return userns.wait_as_init(lambda: _run(job, request["arguments"]))


def _run(job: Callable[..., None], arguments: Mapping[str, object]) -> None:
    try:
        job(**arguments)
    except EngineError as error:
        _report(error)
        raise SystemExit(1) from error
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd[0]} ended with exit status {error.returncode}", flush=True)
        raise SystemExit(1) from error


def _report(error: EngineError) -> None:
    print(_ERROR + json.dumps([error.message, error.hint]), flush=True)
