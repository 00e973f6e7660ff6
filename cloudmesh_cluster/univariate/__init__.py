"""Maps of a function of one argument: serial, parallel, distributed.

    from cloudmesh_cluster import univariate

    univariate.serial.for_loop(square, [1, 2, 3])
    univariate.parallel.futures(square, [1, 2, 3], num_cores=4)
    univariate.distributed.dask(square, [1, 2, 3])

All return a list of results in the order of the arguments. Where the function fails they raise `CallFailed`, which has
the index and the value of the argument; what the function raised is its cause.
"""

from cloudmesh_cluster.univariate import distributed, parallel, serial

__all__ = ["distributed", "parallel", "serial"]
