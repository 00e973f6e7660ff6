"""Faults of clusters on OpenStack: each case has a project of devcloud of its own, which must be empty in the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path

from tests.faults.case import NAME, PROFILE, Case, Trial
from tests.faults.cuts import INT, KILL, NODE_REACHED, TERM, Cut, cut, cut_and_finish
from tests.support import devcloud_clients
from tests.support.cloud_project import Project, heat_behind_a_proxy, own_project
from tests.support.journal_watch import begun, done, started, undoing

PROVIDER = "{{type: openstack, os_cloud: {cloud}, image: debian-12, flavor: m1.small}}\n"
CREATE = ("create", NAME, "-p", "sky")
Act = Callable[[Trial, Project], str]


@contextmanager
def in_a_project(tried: Trial) -> Iterator[Project]:
    """Have `cm` use a project that is only for this case, by the profile `sky`; what is in it in the end is left."""
    with tempfile.TemporaryDirectory(prefix="cm-") as folder:
        devcloud = devcloud_clients.up("engine")
        with own_project(devcloud, Path(folder)) as project:
            file = tried.cm.home / "providers.yaml"
            file.touch(mode=0o600)
            entries = {"dc": project.name, "troubled": "troubled"}
            file.write_text("".join(f"{name}: {PROVIDER.format(cloud=cloud)}" for name, cloud in entries.items()))
            (tried.cm.home / "profiles.d" / "sky.yaml").write_text(f"{PROFILE}provider: dc\n".replace("slow", "sky", 1))
            own = tried.cm
            tried.cm = replace(own, environ={**own.environ, "OS_CLIENT_CONFIG_FILE": str(project.clouds)})
            before = project.everything()
            yield project
            tried.judge()
            tried.left += [" ".join(each) for each in sorted(set(project.everything()) - set(before))]


def on_cloud(tried: Trial, act: Act) -> str:
    """Do something in a project of a cloud."""
    with in_a_project(tried) as project:
        return act(tried, project)


def cut_off(tried: Trial, _: Project, *, words: tuple[str, ...], cuts: tuple[Cut, ...]) -> str:
    """Cut an operation off in the project."""
    return cut_and_finish(tried, words, cuts, create=CREATE)


def import_cut_off(tried: Trial, project: Project, *, at: str) -> str:
    """Cut an import on another machine off; `resume` finishes it, and the owner's cluster is as it was."""
    tried.cm("cluster", *CREATE, timeout=600)
    with tempfile.TemporaryDirectory(prefix="cm-") as folder:
        there = Trial(replace(tried.cm, home=Path(folder), environ={**tried.cm.environ, "OS_CLOUD": project.name}))
        shutil.copy(tried.cm.home / "clusters" / NAME / "id_ed25519", there.cm.home / "key")
        cut(there, ("import", NAME, "--key", str(there.cm.home / "key")), Cut(begun(at), KILL))
        if there.state():
            there.resume()
            there.cm("cluster", "verify", NAME, timeout=600)
        ended = there.state() or "not known"
    tried.cm("cluster", "verify", NAME, timeout=600)
    return ended


def statuses(tried: Trial, project: Project, *, status: int, each: int) -> str:
    """Heat answers every so many looks by a status of trouble: the cluster is made all the same."""
    looks = cycle((*[0] * (each - 1), status))
    with heat_behind_a_proxy(project, lambda method, _: next(looks) if method == "GET" else 0) as proxy:
        tried.cm("cluster", *CREATE, "--provider", "troubled", timeout=600)
        tried.judge()
        if status not in proxy.answered:
            raise AssertionError(f"nobody saw {status}")
    return "ready"


def token_revoked(tried: Trial, project: Project) -> str:
    """The token is worth nothing any more in the middle of a create: another one is asked for."""
    with heat_behind_a_proxy(project, lambda method, path: 0) as proxy:
        with started(tried.cm, "cluster", *CREATE, "--provider", "troubled") as running:
            running.wait_for(begun("provision"))
            running.wait_for_words("create complete")
            for token in proxy.tokens.copy():
                project.revoke(token)
            answer = running.answer()
        if answer.exit:
            raise AssertionError(str(answer))
        tried.judge()
    return "ready"


def stack_deleted(tried: Trial, project: Project) -> str:
    """Somebody deletes the stack behind the back of `cm`: verify fails, and it is not called ready."""
    tried.cm("cluster", *CREATE, timeout=600)
    project.member.delete_stack(f"cm-{NAME}")
    answer = tried.cm("cluster", "verify", NAME, expect=None, timeout=600)
    if answer.exit == 0 or tried.state() == "ready":
        tried.false.append(f"exit {answer.exit}, {tried.state()} without a stack")
    return f"exit {answer.exit}, {tried.state()}"


CUTS: tuple[tuple[tuple[str, ...], tuple[Cut, ...]], ...] = (
    (CREATE, (Cut(begun("prepare"), KILL),)),
    (CREATE, (Cut(begun("provision"), KILL, 1.0),)),
    (CREATE, (Cut(NODE_REACHED, KILL),)),
    (CREATE, (Cut(begun("verify"), KILL),)),
    (CREATE, (Cut(begun("provision"), INT, 2.0), Cut(undoing("provision"), KILL, 0.5))),
    (CREATE, (Cut(begun("wire"), TERM), Cut(undoing("provision"), INT))),
    (("scale", NAME, "2"), (Cut(begun("provision"), KILL, 1.0),)),
    (("scale", NAME, "2"), (Cut(begun("verify"), KILL),)),
    (("replace", NAME, "worker-1"), (Cut(done("destroy"), KILL),)),
    (("delete", NAME, "-y"), (Cut(begun("destroy"), KILL, 1.0),)),
)
ACTS: tuple[tuple[str, Act], ...] = (
    *((f"import: KILL at {at} begun", partial(import_cut_off, at=at)) for at in ("prepare", "reach")),
    *(
        (f"create, delete: Heat answers {status}", partial(statuses, status=status, each=4))
        for status in (429, 500, 503)
    ),
    ("create: token revoked", token_revoked),
    ("verify: stack deleted by somebody else", stack_deleted),
    *(
        (f"{words[0]}: {', then '.join(map(str, cuts))}", partial(cut_off, words=words, cuts=cuts))
        for words, cuts in CUTS
    ),
)
CASES = tuple(Case(name, "openstack", partial(on_cloud, act=act)) for name, act in ACTS)
