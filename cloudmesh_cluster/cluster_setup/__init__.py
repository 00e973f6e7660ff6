"""Dask and Spark from Python, in four steps: scheduler, workers, connection, status.

    from cloudmesh_cluster.cluster_setup import dask

    dask.start_scheduler("127.0.0.1:8791")  # blocks; another terminal:
    dask.start_worker("127.0.0.1:8791")  # blocks; a third one:
    dask.connect_to_scheduler("127.0.0.1:8791")
    dask.report_status()

Importing it is cheap: Dask and Spark themselves are imported by the functions that need them.
"""

from cloudmesh_cluster.cluster_setup import dask, spark

__all__ = ["dask", "spark"]
