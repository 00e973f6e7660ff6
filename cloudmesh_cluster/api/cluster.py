"""Clusters from Python: `Cluster` does what `cm` does, with the same operations, and raises the same errors."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh_cluster.api.view import ClusterView, Progress, checks_table
from cloudmesh_cluster.core.errors import UsageError
from cloudmesh_cluster.core.events import Emit
from cloudmesh_cluster.core.files import read_named
from cloudmesh_cluster.core.home import Home
from cloudmesh_cluster.core.model import CheckResult, CommandResult
from cloudmesh_cluster.views.columns import RESULT_COLUMNS
from cloudmesh_cluster.views.tables import Table

if TYPE_CHECKING:
    from types import TracebackType

    from distributed import Client
    from pyspark.sql import SparkSession

    from cloudmesh_cluster.api.clients import HeldTunnel
    from cloudmesh_cluster.operations.plan import Plan
    from cloudmesh_cluster.operations.session import OnFailure
    from cloudmesh_cluster.operations.write import Recovery

Held = builtins.list[tuple[Callable[[], object], "HeldTunnel"]]  # how to close a client, and its tunnel


class Cluster(ClusterView):
    """A cluster, by its name. Made by `Cluster.create` or `Cluster.open`; each look at it asks anew.

    As a context manager, a cluster that `create` made is deleted at the end; one that `open` found stays.

    Args:
        name: the cluster's.
        home: whose clusters; None for those of `CM_HOME`.
        progress: None shows what happens in a notebook and on a terminal, True always, False never; a function gets
            each event instead.

    """

    def __init__(self, name: str, *, home: Home | None = None, progress: Progress = None) -> None:
        super().__init__(name, home=home, progress=progress)
        self._goes_at_the_end = False
        self._held: Held = []

    @classmethod
    def create(
        cls,
        name: str,
        *,
        profile: str | None = None,
        provider: str | None = None,
        workers: int | None = None,
        image: str | None = None,
        flavor: str | None = None,
        floating_ip: str | None = None,
        os_cloud: str | None = None,
        settings: Mapping[str, object] | None = None,
        on_failure: OnFailure = "rollback",
        timeout: float | None = None,
        trust_on_first_use: bool = False,
        home: Home | None = None,
        progress: Progress = None,
    ) -> Cluster:
        """Make a cluster and prove that it works, as `cm cluster create`.

        Args:
            name: a lower-case letter, then letters, digits and hyphens.
            profile: a profile's name or file; None for the one called like the cluster, else "default".
            provider: where the nodes come from; None for what the profile or the configuration says.
            workers: how many workers.
            image: of all nodes.
            flavor: the size of all nodes.
            floating_ip: which nodes get one, on OpenStack: "master", "all" or "none".
            os_cloud: the entry of `clouds.yaml`.
            settings: of plugins and the profile: `{"hadoop.replication": 2}`.
            on_failure: "rollback" removes what was made, "keep" keeps it.
            timeout: seconds for all of it.
            trust_on_first_use: believe a node for whose host key nobody vouches.
            home: whose clusters; None for those of `CM_HOME`.
            progress: see the class.

        Raises:
            UsageError: something about the request is wrong; nothing was made.
            OperationFailed: it failed, and was rolled back or kept.

        """
        from cloudmesh_cluster.operations.create import create
        from cloudmesh_cluster.operations.plan import CreateRequest

        request = CreateRequest(
            name, profile, provider, workers, image, flavor, floating_ip=floating_ip, os_cloud=os_cloud,
            settings=_words(settings or {}), on_failure=on_failure, timeout=timeout,
            trust_on_first_use=trust_on_first_use,
        )  # fmt: skip
        cluster = cls(name, home=home, progress=progress)
        cluster._run("create", lambda emit: create(cluster._home, request, os.environ, emit))
        cluster._goes_at_the_end = True
        return cluster

    @classmethod
    def plan(cls, name: str, *, settings: Mapping[str, object] | None = None, **options: Any) -> Plan:
        """Return what `create` with the same arguments would do; nothing is touched."""
        from cloudmesh_cluster.operations.plan import CreateRequest, make_plan

        home = options.pop("home", None) or Home.from_environment(os.environ)
        return make_plan(home, CreateRequest(name, settings=_words(settings or {}), **options), os.environ)

    @classmethod
    def open(cls, name: str, *, home: Home | None = None, progress: Progress = None) -> Cluster:
        """Return a cluster that exists.

        Raises:
            NotFound: there is none of that name.

        """
        from cloudmesh_cluster.state.store import State

        cluster = cls(name, home=home, progress=progress)
        with State(cluster._home) as state:
            state.cluster(name)
        return cluster

    @classmethod
    def list(cls, *, home: Home | None = None) -> tuple[Cluster, ...]:
        """Return all clusters."""
        from cloudmesh_cluster.state.store import State

        where = home or Home.from_environment(os.environ)
        with State(where) as state:
            return tuple(cls(name, home=where) for name in state.cluster_names())

    # What it does

    def verify(self, *, full_mesh: bool = False, now: bool = False) -> Table[CheckResult]:
        """Run all checks; the cluster is ready or unhealthy by what they find.

        Args:
            full_mesh: try SSH between all pairs of nodes.
            now: try each check once, instead of until its deadline.

        Raises:
            ChecksFailed: a check failed; the error holds all results.

        """
        from cloudmesh_cluster.operations.verify import verify

        how = {"full_mesh": full_mesh, "once": now}
        return checks_table(self._run("verify", lambda emit: verify(self._home, self.name, emit, **how), quiet=True))

    def write(
        self,
        role: str,
        script: str | bytes | Path,
        *,
        name: str | None = None,
        expect: str | None = None,
        expect_exit: int = 0,
        test: str | None = None,
        undo: str | bytes | Path | None = None,
        on_failure: Recovery | None = None,
        run: bool = True,
        timeout: float | None = None,
    ) -> Table[CommandResult]:
        """Run a script on all nodes of a role, now and on those that come later; return every node's answer.

        Args:
            role: "all", "master" or "worker".
            script: its text, or a `Path` to it.
            name: what it is called in lists; None for the file's name, or "script".
            expect: a pattern that its output must match.
            expect_exit: the exit status it must have.
            test: a shell line that must succeed afterwards.
            undo: a script that takes it back, as text or `Path`.
            on_failure: "undo", "rebuild" or "keep"; None is "undo" where there is one, else "keep".
            run: False keeps it for nodes to come only.
            timeout: seconds on each node.

        Raises:
            OperationFailed: it failed on a node (`error.cause.results`); it is forgotten, and undone as asked.

        """
        from cloudmesh_cluster.operations.write import WriteRequest, write

        request = WriteRequest(
            self.name, role, _bytes(script), name or (script.name if isinstance(script, Path) else "script"),
            expect=expect, expect_exit=expect_exit, test=test, undo=None if undo is None else _bytes(undo),
            on_failure=on_failure, run=run, timeout=timeout,
        )  # fmt: skip
        done = self._run("write", lambda emit: write(self._home, request, emit))
        return self._answers(done.results)

    def cmd(
        self, *words: str, target: str = "all", timeout: float | None = None, check: bool = True
    ) -> Table[CommandResult]:
        """Run a command on nodes at once, as the login user; return every node's answer.

        Args:
            words: one word is a shell line, several are an argument vector, which no shell touches.
            target: which nodes: a role, a node, an index, a range, a nodeset.
            timeout: seconds on each node.
            check: raise where a node answers other than 0.

        Raises:
            RemoteFailed: a node did; the error holds all answers.

        """
        from cloudmesh_cluster.operations.command import command

        if not words:
            raise UsageError("no command was given", hint='for example: cluster.cmd("uptime")')
        results = self._run(
            "cmd", lambda _: command(self._home, self.name, words, target=target, timeout=timeout), quiet=True
        )
        return self._answers(results, "cmd" if check else None)

    def put(self, local: str | Path, remote: str, *, target: str = "all") -> Table[CommandResult]:
        """Copy a file to nodes; each gets it whole or not at all.

        Raises:
            RemoteFailed: a node did not get it; the error holds all answers.

        """
        from cloudmesh_cluster.operations.command import put

        results = self._run("put", lambda _: put(self._home, self.name, Path(local), remote, target=target), quiet=True)
        return self._answers(results, f"put {local}")

    def get(self, remote: str, local: str | Path, *, target: str = "all") -> Table[CommandResult]:
        """Copy a file from nodes: to `local`, or for several nodes to `local/NODE/FILE`. Nothing is overwritten.

        Raises:
            RemoteFailed: a node did not give it; the error holds all answers.

        """
        from cloudmesh_cluster.operations.command import get

        results = self._run("get", lambda _: get(self._home, self.name, remote, str(local), target=target), quiet=True)
        return self._answers(results, f"get {remote}")

    def scale(
        self, workers: int | str | None = None, *, machines: Sequence[str] = (), timeout: float | None = None,
        trust_on_first_use: bool = False,
    ) -> Cluster:  # fmt: skip
        """Change the number of workers; return the cluster.

        Args:
            workers: a number, `"+2"` or `"-1"`; None is as many more as there are machines.
            machines: machines that exist, ADDRESS or ADDRESS:PORT, that become workers.
            timeout: seconds for the whole operation.
            trust_on_first_use: whether a new worker is believed for whose host key nobody vouches.

        """
        from cloudmesh_cluster.operations.scale import scale

        how: dict[str, Any] = {"machines": machines, "timeout": timeout, "trust_on_first_use": trust_on_first_use}
        count = None if workers is None else str(workers)
        self._run("scale", lambda emit: scale(self._home, self.name, count, emit, **how))
        return self

    def replace(self, node: str, *, timeout: float | None = None, trust_on_first_use: bool = False) -> Cluster:
        """Make a node anew: same name, same role, fresh disk; return the cluster."""
        from cloudmesh_cluster.operations.scale import replace

        how: dict[str, Any] = {"timeout": timeout, "trust_on_first_use": trust_on_first_use}
        self._run("replace", lambda emit: replace(self._home, self.name, node, emit, **how))
        return self

    def install(self, *plugins: str) -> Cluster:
        """Install plugins and verify the cluster; return it."""
        return self._service("install", plugins)

    def uninstall(self, *plugins: str) -> Cluster:
        """Remove plugins; return the cluster."""
        return self._service("uninstall", plugins)

    def start(self, *plugins: str) -> Cluster:
        """Start nodes and plugins, or only some plugins; return the cluster."""
        return self._service("start", plugins)

    def stop(self, *plugins: str) -> Cluster:
        """Stop plugins and nodes, or only some plugins; disks stay. Return the cluster."""
        return self._service("stop", plugins)

    def restart(self, *plugins: str) -> Cluster:
        """Stop and start; return the cluster."""
        return self._service("restart", plugins)

    def resume(self, *, deletes: bool = False) -> Cluster:
        """Finish an operation that was interrupted; return the cluster. A delete is finished only with `deletes`."""
        from cloudmesh_cluster.operations.resume import resume

        self._run("resume", lambda emit: resume(self._home, self.name, emit, deletes=deletes))
        return self

    def dask(self, **options: Any) -> Client:
        """Return a Dask client that is connected through an SSH tunnel: no port is open to the world.

        Close it with its own `close()`; the tunnel goes with it, or with `close` of the cluster.

        Args:
            options: further arguments of `distributed.Client`.

        Raises:
            UsageError: Dask is not on the cluster, or not installed here.
            ConnectionFailed: the scheduler doesn't answer.

        """
        from cloudmesh_cluster.api.clients import dask_client

        client, held = dask_client(self._home, self.name, **options)
        self._held.append((client.close, held))
        return client

    def spark(self, *, name: str = "cm") -> SparkSession:
        """Return a Spark session (Spark Connect) that is connected through an SSH tunnel.

        Args:
            name: what the application is called in Spark's pages.

        Raises:
            UsageError: Spark is not on the cluster, or not installed here.
            ConnectionFailed: it doesn't answer.

        """
        from cloudmesh_cluster.api.clients import spark_session

        session, held = spark_session(self._home, self.name, name=name)
        self._held.append((session.stop, held))
        return session

    def close(self) -> None:
        """Close the clients that came from `dask` and `spark`, and their tunnels; the cluster stays."""
        while self._held:
            stop, held = self._held.pop()
            stop()
            held.close()

    def delete(self, *, force: bool = False) -> None:
        """Remove it with everything on its nodes; what is gone already is no error.

        Raises:
            LeftBehind: something could not be removed.

        """
        from cloudmesh_cluster.operations.delete import delete

        self.close()
        self._run("delete", lambda emit: delete(self._home, [self.name], emit, force=force))

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._goes_at_the_end:
            self.delete()

    # How it works

    def _service(self, what: str, plugins: Sequence[str]) -> Cluster:
        from cloudmesh_cluster.operations import services

        work: Callable[[Home, str, Sequence[str], Emit], Coroutine[Any, Any, object]] = getattr(services, what)
        self._run(what, lambda emit: work(self._home, self.name, plugins, emit))
        return self

    def _answers(self, results: Sequence[CommandResult], what: str | None = None) -> Table[CommandResult]:
        from cloudmesh_cluster.operations.steps.wiring import raise_failed
        from cloudmesh_cluster.views.summary import folded_answers

        if what is not None:
            raise_failed(what, results)
        return Table(results, RESULT_COLUMNS, text=folded_answers(self.name, results))


def _words(settings: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(f"{key}={_setting(value)}" for key, value in settings.items())


def _setting(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bytes(script: str | bytes | Path) -> bytes:
    if isinstance(script, Path):
        return read_named(str(script))
    return script.encode() if isinstance(script, str) else script
