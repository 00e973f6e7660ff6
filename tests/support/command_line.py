"""`cm` as users run it: a process of its own, with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "JAVA_HOME", "OS_CLIENT_CONFIG_FILE")


@dataclass(frozen=True)
class Answer:
    """What a `cm` process said: its words (for messages), exit code, standard output and error."""

    words: tuple[str, ...]
    exit: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"$ cm {' '.join(self.words)}\n{self.stdout}{self.stderr}[exit {self.exit}]"


@dataclass(frozen=True)
class CommandLine:
    """Runs `cm` with a given home.

    Args:
        home: its CM_HOME.
        cache: its CM_CACHE.
        python: the interpreter.
        user: the user to run it as; None is whoever runs the tests.
        environ: more environment variables; an empty value takes one away.

    """

    home: Path
    cache: Path
    python: str = sys.executable
    user: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self, *words: str, stdin: str = "", expect: int | None = 0, timeout: float = 300.0, cwd: Path | None = None
    ) -> Answer:
        """Run `cm WORDS...` to its end and return what it said.

        Args:
            words: the command line.
            stdin: what it reads; empty means nothing at all.
            expect: the exit code that anything else than would be a failed test; None accepts all.
            timeout: seconds after which it is killed and the test fails.
            cwd: where it runs; `/` if not given.

        """
        done = subprocess.run(
            self.argv(*words),
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
            env=self.environment(),
            cwd=cwd or "/",
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
        )
        answer = Answer(words, done.returncode, done.stdout, done.stderr)
        assert expect is None or answer.exit == expect, f"expected exit {expect}\n{answer}"
        return answer

    def argv(self, *words: str) -> Sequence[str]:
        """Return the argument vector, for tests that start `cm` themselves."""
        return [self.python, "-m", "cloudmesh_cluster", *words]

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the process: nothing of the tester's own leaks in."""
        wanted = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "HOME": str(self.home.parent if self.user else Path.home()),
            "PATH": SYSTEM_PATH,
            "PYTHONPATH": str(ROOT),
            "CM_HOME": str(self.home),
            "CM_CACHE": str(self.cache),
            **self.environ,
        }
        return {name: value for name, value in wanted.items() if value}
