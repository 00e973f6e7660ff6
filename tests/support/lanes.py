"""How tests run side by side: each module in one lane, the slowest modules first, so that the lanes end together."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SLOWEST_FIRST = (
    "local/test_hadoop.py",
    "local/test_hadoop_parts.py",
    "local/test_small_plugins.py",
    "openstack/test_hadoop.py",
    "local/test_spark.py",
    "local/test_cluster_setup_spark.py",
    "openstack/test_outages.py",
    "openstack/test_failures.py",
    "baremetal/test_changes.py",
    "local/test_conda.py",
    "openstack/test_trials.py",
    "openstack/test_import.py",
    "local/test_notebooks.py",
    "local/test_interruption.py",
    "openstack/test_troubles.py",
    "openstack/test_host_keys.py",
    "local/test_rollback.py",
    "local/test_operating.py",
    "local/test_ordinary_user.py",
    "local/test_dask.py",
    "local/test_cluster_setup_dask.py",
    "local/test_write.py",
    "openstack/test_devcloud.py",
)
"""Modules below tests/ that take more than a minute; the others follow as they were collected."""
SHOWN = 3000
"""Characters of a failure that are printed before the end of the run."""
TOGETHER = (SLOWEST_FIRST[:3], SLOWEST_FIRST[3:6])
"""Modules full of Java: its machines use all cores as they start, so those of a group never run side by side."""
APART = ("local/test_notebooks.py",)
"""Modules whose tests share nothing: each may run in another lane, but for those with Hadoop, which follow a group."""


class Failures:
    """Prints each failure when it happens: a run that is cut off must not take them with it."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the end of what a failed test said."""
        if report.failed:
            self._reporter.write_line(f"\n{report.nodeid} failed in {report.when}:\n{report.longreprtext[-SHOWN:]}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Print failures where lanes come together, and nothing twice where there are none."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None and config.getoption("numprocesses", None):
        config.pluginmanager.register(Failures(reporter))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the slowest modules begin first."""
    rank = {name: place for place, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: rank.get(_module(item.nodeid), len(rank)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Keep the tests of a module together, and in their order: they share clusters."""
    return Lanes(config, log)


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives each lane a module at a time."""

    def _split_scope(self, nodeid: str) -> str:
        module = _module(nodeid)
        if module in APART and "hadoop" not in nodeid:
            return nodeid
        if module in APART:
            return TOGETHER[1][0]
        return next((group[0] for group in TOGETHER if module in group), module)


def _module(nodeid: str) -> str:
    return nodeid.split("::", maxsplit=1)[0].removeprefix("tests/")
