"""`python -m cloudmesh_cluster` is `cm`."""

import sys

from cloudmesh_cluster.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
