"""`cm cluster write`, `cmd`, `ssh`, `put`, `get`: what is run on nodes and brought to them."""

from __future__ import annotations

import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from cloudmesh_cluster.cli.commands.arguments import NAME, target_argument, timeout_argument, whole_number
from cloudmesh_cluster.cli.session import Session
from cloudmesh_cluster.cli.tree import Command, argument
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.files import read_named
from cloudmesh_cluster.core.model import CommandResult
from cloudmesh_cluster.views.columns import RESULT_COLUMNS

SSH_FAILED = 255


def write(args: Namespace, session: Session) -> int:
    """Store a script with the cluster and run it on all nodes of a role."""
    content, script_name = _script(args, session)
    undo = None if args.undo is None else read_named(args.undo)
    from cloudmesh_cluster.operations.write import WriteRequest
    from cloudmesh_cluster.operations.write import write as store

    request = WriteRequest(
        name=args.name,
        role=args.role,
        content=content,
        script_name=script_name,
        expect=args.expect,
        expect_exit=args.expect_exit,
        test=args.test,
        undo=undo,
        on_failure=args.on_failure,
        run=not args.no_run,
        timeout=args.timeout,
    )
    result = session.run([args.name], lambda emit: store(session.home, request, emit))
    # What the scripts printed was shown line by line while they ran.
    rows = [asdict(each) for each in result.results]
    session.show_rows(args, rows, RESULT_COLUMNS, brief=("node", "exit", "seconds"))
    return 0


def _script(args: Namespace, session: Session) -> tuple[bytes, str]:
    """Return the script and a name for it: the words or the file, else what stands on the input.

    Raises:
        UsageError: there is no script, or it is empty.

    """
    if args.words and args.file:
        raise UsageError("words and --file are two scripts", hint="give one of them")
    if args.words:
        content, name = (shell_line(args.words) + "\n").encode(), " ".join(args.words)
    elif args.file and args.file != "-":
        content, name = read_named(args.file), Path(args.file).name
    else:
        content, name = _input(args, session), "stdin"
    if not content.strip():
        raise UsageError("the script is empty", hint=f"see: cm {args.object} {args.action} --help")
    return content, name


def _input(args: Namespace, session: Session) -> bytes:
    if session.document is not None:
        return session.document
    if session.mode != "one-shot":
        raise UsageError("no script was given", hint=f"here: cluster write {args.name} {args.role} <<EOF, or < FILE")
    if args.file != "-" and sys.stdin.isatty():
        hint = f"give words, --file FILE, or: cm cluster write {args.name} {args.role} < FILE"
        raise UsageError("no script was given", hint=hint)
    return sys.stdin.buffer.read()


def shell_line(words: Sequence[str]) -> str:
    """Return the words as one line for the nodes' shell: one word is that line, several are quoted each."""
    import shlex

    return words[0] if len(words) == 1 else shlex.join(words)


def cmd(args: Namespace, session: Session) -> int:
    """Run a command on nodes at once; equal answers are folded."""
    words = _words(args)
    from cloudmesh_cluster.operations.command import command
    from cloudmesh_cluster.views.summary import folded_answers

    results = session.run(
        [args.name],
        lambda _: command(session.home, args.name, words, target=args.target, timeout=args.timeout),
    )
    if args.format == "table" and not args.column:
        session.result = [asdict(each) for each in results]
        sys.stdout.write(folded_answers(args.name, results))
    else:
        session.show_rows(args, [asdict(each) for each in results], RESULT_COLUMNS)
    return 0 if all(each.ok for each in results) else 1


def _words(args: Namespace) -> list[str]:
    if not args.words:
        raise UsageError("no command was given", hint=f"see: cm {args.object} {args.action} --help")
    return list(args.words)


def ssh(args: Namespace, session: Session) -> int:
    """Log in to a node, or run a command there, with the system's ssh; return the remote code."""
    from cloudmesh_cluster.operations.command import refuse_silent, ssh_argv

    argv = ssh_argv(session.home, args.name, args.target, list(args.words))
    # The input of a piped script is the script itself.
    code = _call(argv, reads=session.mode != "script" or sys.stdin.isatty())
    if code == SSH_FAILED:
        refuse_silent(session.home, args.name, args.target)
    return code


def _call(argv: Sequence[str], *, reads: bool) -> int:
    """Run a program in the foreground: Ctrl-C is its own business, and a shell's redirection holds for it."""
    sys.stdout.flush()
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # a stream of a test or of Python's own, which no program can write to
        output = None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.call(argv, stdin=None if reads else subprocess.DEVNULL, stdout=output)
    except FileNotFoundError:
        raise UsageError(f"{argv[0]} is not installed", hint="install OpenSSH's client") from None
    finally:
        signal.signal(signal.SIGINT, before)


def put(args: Namespace, session: Session) -> int:
    """Copy a file to nodes."""
    from cloudmesh_cluster.operations.command import put as copy

    return _copy(
        args, session, lambda: copy(session.home, args.name, Path(args.local), args.remote, target=args.target)
    )


def get(args: Namespace, session: Session) -> int:
    """Copy a file from nodes, one file per node."""
    from cloudmesh_cluster.operations.command import get as copy

    return _copy(args, session, lambda: copy(session.home, args.name, args.remote, args.local, target=args.target))


def _copy(args: Namespace, session: Session, work: Callable[[], Awaitable[Sequence[CommandResult]]]) -> int:
    results = session.run([args.name], lambda _: work())
    session.show_rows(args, [asdict(each) for each in results], RESULT_COLUMNS)
    return 0 if all(each.ok for each in results) else 1


_TIMEOUT = timeout_argument("give up on a node after this time")

COMMANDS = (
    Command(
        "cluster", "write", "run a script on all nodes of a role, now and on nodes added later", write,
        columns=RESULT_COLUMNS, takes_words=True,
        examples=(
            "cluster write hadoop master < install.sh",
            "cluster write t worker --file setup.sh --undo remove.sh",
            "cluster write t master --expect done 'apt-get update && apt-get install -y tree && echo done'",
            "cluster write t all useradd --create-home ann",
        ),
        arguments=(
            NAME,
            argument("role", metavar="ROLE", completes="role", help="all, master (head) or worker (compute)"),
            argument("--file", metavar="FILE", completes="file", help="the script; - is standard input"),
            argument("--expect", metavar="REGEX", help="what its output must contain"),
            argument("--expect-exit", type=whole_number, metavar="N", default=0,
                     help="the exit status it must have (default: 0)"),
            argument("--test", metavar="CMD", help="a command that must succeed afterwards"),
            argument("--undo", metavar="FILE", completes="file", help="the script that takes it back"),
            argument("--on-failure", choices=("undo", "rebuild", "keep"),
                     help="what to do when it fails (default: undo where there is --undo, else keep)"),
            argument("--no-run", action="store_true", help="remember it for nodes added later, run it nowhere now"),
            _TIMEOUT,
        ),
    ),
    Command(
        "cluster", "cmd", "run a command on nodes at once; equal answers are folded", cmd,
        columns=RESULT_COLUMNS, takes_words=True,
        examples=(
            "cluster cmd t hostname",
            "cluster cmd t -t worker -- ls -l /tmp",
            "cluster cmd t 'df -h / | tail -1'",
            "cluster cmd t -t worker-[1-3] -f json uptime",
        ),
        arguments=(NAME, target_argument(), _TIMEOUT),
    ),
    Command(
        "cluster", "ssh", "log in to a node, or run a command there", ssh, takes_words=True,
        examples=(
            "cluster ssh t", "cluster ssh t -t worker-1", "cluster ssh t -t worker-1 uptime", "cluster ssh t -- ls -l",
        ),
        arguments=(
            NAME,
            argument("-t", "--target", metavar="NODE", completes="node", help="the node (default: the master)"),
        ),
    ),
    Command(
        "cluster", "put", "copy a file to nodes", put, columns=RESULT_COLUMNS,
        examples=("cluster put t words.txt /tmp/words.txt", "cluster put t app.jar /tmp/ -t worker"),
        arguments=(
            NAME,
            argument("local", metavar="LOCAL", completes="file", help="the file here"),
            argument("remote", metavar="REMOTE", help="where it goes on the nodes"),
            target_argument(),
        ),
    ),
    Command(
        "cluster", "get", "copy a file from nodes, one file for each node", get, columns=RESULT_COLUMNS,
        examples=("cluster get t /etc/hosts ./hosts", "cluster get t /var/log/app.log logs/ -t worker"),
        arguments=(
            NAME,
            argument("remote", metavar="REMOTE", help="the file on the nodes"),
            argument("local", metavar="LOCAL", completes="file", help="where it goes here; nothing is overwritten"),
            target_argument(),
        ),
    ),
)  # fmt: skip
