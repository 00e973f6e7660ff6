"""Where Spark is, and the environment in which it keeps to one address."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudmesh_cluster.cluster_setup.address import Address
from cloudmesh_cluster.core.errors import ConnectionFailed, LibraryMissing


def spark_home() -> Path:
    """Return where Spark is: SPARK_HOME, as everywhere in Spark, else the folder of pyspark.

    Raises:
        ConnectionFailed: it is not there, or there is no Java.
        LibraryMissing: pyspark is not installed.

    """
    if found := os.environ.get("SPARK_HOME"):
        home = Path(found)
    else:
        try:
            import pyspark
        except ImportError as error:
            raise LibraryMissing("Spark", "spark") from error
        home = Path(pyspark.__file__).parent
    if not (home / "bin" / "spark-class").exists():
        hint = "set SPARK_HOME to the folder of Spark, or unset it"
        raise ConnectionFailed(f"{home} has no bin/spark-class", hint=hint)
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise ConnectionFailed("Spark needs Java", hint="apt-get install default-jre-headless, or set JAVA_HOME")
    return home


def network(own: Address) -> dict[str, str]:
    """Return the environment that keeps Spark on one address, where it would listen on all."""
    return {"SPARK_LOCAL_IP": own.bracketed}


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for a while: pyspark and the Java it starts read them only then."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
