"""Packaging of `cm`: metadata, and the node-side files that travel inside the package."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
NODE_SIDE = ("scripts", "heat_templates")
DATA = Path("cloudmesh_cluster", "_data")


class BuildWithNodeSideFiles(build_py):
    """Copy the top-level folders that nodes and clouds need into `cloudmesh_cluster/_data`.

    An editable install copies nothing: there `resources.py` reads the top level itself.
    """

    def run(self) -> None:
        """Build the modules, then renew `_data`: an old build may hold files that are gone here."""
        super().run()
        if self.editable_mode:
            return
        shutil.rmtree(Path(self.build_lib, DATA), ignore_errors=True)
        for source, target in self._node_side_files():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return every file that the build makes, for the installer's record."""
        copied = [] if self.editable_mode else [str(target) for _, target in self._node_side_files()]
        return [*super().get_outputs(include_bytecode), *copied]

    def _node_side_files(self) -> list[tuple[Path, Path]]:
        below = (path for folder in NODE_SIDE for path in sorted(Path(HERE, folder).rglob("*")))
        return [
            (path, Path(self.build_lib, DATA, path.relative_to(HERE)))
            for path in below
            if path.is_file() and "__pycache__" not in path.parts
        ]


def version() -> str:
    """Return the version that the package itself states."""
    text = Path(HERE, "cloudmesh_cluster", "core", "version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if match is None:
        raise SystemExit("cloudmesh_cluster/core/version.py states no __version__")
    return match[1]


# Every node of a cluster needs the same versions, so they are exact.
DASK = ["dask[distributed]==2026.8.0", "bokeh==3.9.2", "cloudpickle==3.1.2", "joblib>=1.5"]
# PySpark warns of newer versions of pandas.
SPARK = ["pyspark[connect]==4.3.0", "pandas>=2.2,<3"]
# What lint and unit tests need.
CHECK = [
    "codespell>=2.4",
    "hypothesis>=6.150",
    "import-linter>=2.3",
    "mypy>=1.18",
    "pytest>=8.4",
    "pytest-xdist>=3.8",
    "ruff>=0.14",
    "setuptools>=77",
    "types-PyYAML>=6.0.12",
    "types-setuptools",
    "yamllint>=1.37",
]

setup(
    name="cloudmesh-cluster",
    version=version(),
    description="One command turns machines into a verified cluster",
    long_description=Path(HERE, "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["cloudmesh_cluster", "cloudmesh_cluster.*"]),
    package_data={"": ["py.typed", "*.yaml", "*.sh"], "cloudmesh_cluster": ["profiles/*.yaml", "views/templates/*.j2"]},
    include_package_data=False,
    install_requires=[
        "asyncssh>=2.22",
        "cmd2>=4.2,<5",
        "cryptography>=44",
        "Jinja2>=3.1.6",
        "keystoneauth1>=5.10",
        "openstacksdk>=4.4",
        "python-heatclient>=4.1",
        "python-novaclient>=18.8",
        "PyYAML>=6.0.1",
        "rich>=14",
    ],
    extras_require={
        "conda": ["conda-pack>=0.9", "py-rattler>=0.28", "setuptools>=77"],
        "dask": DASK,
        "spark": SPARK,
        "check": CHECK,
        "test": [
            *CHECK,
            *DASK,
            *SPARK,
            "ansible-core>=2.17",
            "conda-pack>=0.9",
            "conda-package-handling>=2.4",
            "ipykernel>=6.29",
            "ipython>=8.30",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "py-rattler-build>=0.73",
            "py-rattler>=0.28",
        ],
        "bench": ["python-openstackclient>=8"],
    },
    entry_points={"console_scripts": ["cm = cloudmesh_cluster.cli.main:process"]},
    classifiers=[
        "Environment :: Console",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: System :: Clustering",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
    cmdclass={"build_py": BuildWithNodeSideFiles},
)
