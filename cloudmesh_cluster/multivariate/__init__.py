"""Maps of a function of several arguments, which the list holds as tuples: serial, parallel, distributed.

    from cloudmesh_cluster import multivariate

    multivariate.serial.for_loop(add, [(1, 2), (10, 20)])
    multivariate.parallel.futures(add, [(1, 2), (10, 20)], num_cores=4)
    multivariate.distributed.dask(add, [(1, 2), (10, 20)])

All return a list of results in the order of the arguments. Where the function fails they raise `CallFailed`, which has
the index and the value of the argument; what the function raised is its cause.
"""

from cloudmesh_cluster.multivariate import distributed, parallel, serial

__all__ = ["distributed", "parallel", "serial"]
