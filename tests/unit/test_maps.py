"""Maps on this machine: one signature, order kept, errors that name the argument."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

from cloudmesh_cluster import multivariate, univariate
from cloudmesh_cluster.core.errors import CallFailed
from cloudmesh_cluster.maps.batches import batches_of, flat
from cloudmesh_cluster.maps.serial import collect
from tests.conftest import refuse
from tests.support.command_line import ROOT
from tests.support.unified_map import DISTRIBUTED, DOCUMENTED, PARALLEL, SERIAL, calls, expected, table
from tests.support.unified_map import add as their_add
from tests.support.unified_map import square as their_square

LOCAL = [("serial", name) for name in SERIAL] + [("parallel", name) for name in PARALLEL]
Map = Callable[..., list[Any]]


def square(x: int) -> int:
    """Return a square."""
    return x * x


def add(x: int, y: int, z: int) -> int:
    """Return a sum."""
    return x + y + z


def inverse(x: int) -> float:
    """Fail for 0."""
    return 1 / x


def ratio(x: int, y: int) -> float:
    """Fail for a second 0."""
    return x / y


class Stubborn(Exception):
    """Can't be pickled and read back."""

    def __init__(self, text: str, more: int) -> None:
        super().__init__(text)


def stubborn(x: int) -> int:
    """Fail in a way that does not travel."""
    raise Stubborn("no", x)


def leave(x: int) -> int:
    """End the program for 3, as a script does."""
    if x == 3:
        sys.exit("bad input")
    return x


def die(x: int) -> int:
    """End as a process that the kernel kills for want of memory."""
    os._exit(9)


def whose(x: int) -> int:
    """Return the process that this runs in."""
    return os.getpid()


def the_map(module: ModuleType, where: str, name: str) -> Map:
    """Return one of the maps, if the library that it needs is here."""
    if name in ("dask", "joblib") and find_spec(name) is None:
        refuse(f"{name} is not installed: pip install '.[dask]'")
    found: Map = getattr(getattr(module, where), name)
    return found


@pytest.mark.parametrize(("where", "name"), LOCAL)
def test_univariate(where: str, name: str) -> None:
    """A function of one argument: results in order, from any iterable, from an empty one too."""
    mapped = the_map(univariate, where, name)

    assert mapped(square, range(500)) == [x * x for x in range(500)]
    assert mapped(square, iter([3, 1, 2])) == [9, 1, 4]
    assert mapped(square, []) == []


@pytest.mark.parametrize(("where", "name"), LOCAL)
def test_multivariate(where: str, name: str) -> None:
    """A function of several arguments: the list holds tuples."""
    assert the_map(multivariate, where, name)(add, [(1, 2, 3), (10, 20, 30)]) == [6, 60]


@pytest.mark.parametrize(("where", "name"), LOCAL)
def test_failure_names_the_argument(where: str, name: str) -> None:
    """An error says which argument it was, by index and value, and what the function raised is its cause."""
    with pytest.raises(CallFailed, match=r"argument 250 \(0\): ZeroDivisionError") as one:
        the_map(univariate, where, name)(inverse, [*range(1, 251), *range(100)])
    with pytest.raises(CallFailed, match=r"argument 1 \(\(1, 0\)\)") as several:
        the_map(multivariate, where, name)(ratio, [(1, 2), (1, 0)])

    assert (one.value.index, one.value.argument, several.value.argument) == (250, 0, (1, 0))
    assert isinstance(one.value.__cause__, ZeroDivisionError)
    assert isinstance(several.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("name", PARALLEL)
def test_any_exception_comes_back(name: str) -> None:
    """An exception that does not survive the way between processes still tells what it said."""
    with pytest.raises(CallFailed, match="no") as raised:
        the_map(univariate, "parallel", name)(stubborn, [1])

    assert "in stubborn" in raised.value.trace


@pytest.mark.parametrize(("where", "name"), LOCAL)
def test_a_function_that_exits_is_a_failure(where: str, name: str) -> None:
    """`sys.exit` in a call ends no process: it names the argument, as any failure does."""
    with pytest.raises(CallFailed, match=r"argument 3 \(3\): SystemExit: bad input"):
        the_map(univariate, where, name)(leave, range(8))


@pytest.mark.parametrize("name", PARALLEL)
def test_a_process_that_dies_is_an_error(name: str) -> None:
    """A process that ends in the middle of a call is not waited for."""
    with pytest.raises(RuntimeError, match=r"process|worker"):
        the_map(univariate, "parallel", name)(die, range(8), num_cores=2)


@pytest.mark.parametrize("name", PARALLEL)
def test_what_can_not_be_pickled_is_not_waited_for(name: str) -> None:
    """A lambda is computed where the library takes it by value, and is an error elsewhere."""
    mapped = the_map(univariate, "parallel", name)
    if name in ("dask", "joblib"):
        assert mapped(lambda x: x * x, range(8)) == [x * x for x in range(8)]
    else:
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            mapped(lambda x: x * x, range(8))


@pytest.mark.parametrize("name", PARALLEL)
def test_an_interrupt_ends_the_calls(name: str) -> None:
    """Ctrl-C that reaches this interpreter alone, as a notebook sends it, does not wait for calls that run."""
    the_map(univariate, "parallel", name)
    code = (
        "import signal, time, threading\n"
        "from cloudmesh_cluster import univariate\n"
        "words = (threading.main_thread().ident, signal.SIGINT)\n"
        "threading.Timer(3, signal.pthread_kill, words).start()\n"
        f"univariate.parallel.{name}(time.sleep, [600] * 4, num_cores=2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert "KeyboardInterrupt" in done.stderr


@pytest.mark.parametrize("name", PARALLEL)
def test_num_cores(name: str) -> None:
    """`num_cores` is how many processes work at most, and none of them is this one."""
    processes = set(the_map(univariate, "parallel", name)(whose, range(100), num_cores=2))

    assert 1 <= len(processes) <= 2
    assert os.getpid() not in processes
    with pytest.raises(ValueError, match="num_cores=0"):
        the_map(univariate, "parallel", name)(whose, [1], num_cores=0)


@pytest.mark.parametrize(("where", "name"), [*LOCAL, *(("distributed", name) for name in DISTRIBUTED)])
@pytest.mark.parametrize("module", [univariate, multivariate])
def test_one_signature(module: ModuleType, where: str, name: str) -> None:
    """All maps take (function, argument_list), and the parallel ones num_cores=None."""
    parameters = inspect.signature(getattr(getattr(module, where), name)).parameters

    assert list(parameters) == ["function", "argument_list", *(["num_cores"] if where == "parallel" else [])]
    assert where != "parallel" or parameters["num_cores"].default is None


@pytest.mark.parametrize(("name", "scheduler"), [("dask", "Dask"), ("spark", "Spark")])
def test_no_connection(name: str, scheduler: str) -> None:
    """Without a connection it is a ConnectionError with the three steps."""
    with pytest.raises(ConnectionError, match=f"no connection to a {scheduler} scheduler") as raised:
        getattr(univariate.distributed, name)(square, [1])

    steps = "".join(raised.value.__notes__)
    assert steps.index("start_scheduler") < steps.index("start_worker") < steps.index("connect_to_scheduler")


def test_batches() -> None:
    """Batches hold everything once, in order; few arguments are spread, many are not cut too small."""
    for count in (0, 1, 7, 64, 65, 10_000):
        cut = batches_of(range(count), cores=2)
        assert flat(arguments for _, arguments in cut) == list(range(count))
        assert [start for start, _ in cut] == [arguments[0] for _, arguments in cut]
        assert len(cut) == count if count <= 64 else len(cut) <= 64


def test_serial_maps_call_once_and_in_order() -> None:
    """An iterator is consumed once, and each argument is called once."""
    seen: list[int] = []

    def arguments() -> Iterator[int]:
        yield from (1, 2, 3)

    for name in SERIAL:
        getattr(univariate.serial, name)(seen.append, arguments())

    assert seen == [1, 2, 3] * len(SERIAL)


def test_what_fails_after_the_last_call_is_raised_as_it_is() -> None:
    """It is blamed on no argument, and not hidden by another error."""

    def lazily(arguments: list[Any]) -> Iterator[Any]:
        yield from arguments
        raise OSError("it could not be closed")

    with pytest.raises(OSError, match="could not be closed"):
        collect(lazily, [1, 2])


def test_every_function_of_unified_map_has_its_row() -> None:
    """The table of docs/cluster-setup.md has the functions of unified_map 1.0.0 with their arguments, all of them."""
    assert set(table()) == DOCUMENTED


@pytest.mark.parametrize("call", calls(r"(uni|multi)variate\.(serial|parallel)"))
def test_calls_of_unified_map(call: str) -> None:
    """Serial and parallel maps take the original's arguments, and return what it returned."""
    if ".dask(" in call or ".joblib(" in call:
        the_map(univariate, "parallel", "joblib")
    names = {"univariate": univariate, "multivariate": multivariate, "square": their_square, "add": their_add}

    assert eval(call, names) == expected(call)  # noqa: S307  (a page of ours)
