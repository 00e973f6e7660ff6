"""`python -m cloudmesh_cluster` is `cm`."""

from cloudmesh_cluster.cli.main import process

if __name__ == "__main__":
    process()
