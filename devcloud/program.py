"""The command line of devcloud."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from devcloud import cloud as clouds
from devcloud import clouds_yaml, install
from devcloud.errors import DevcloudError
from devcloud.layout import DRIVERS, ENGINE, Cloud

_DESCRIPTION = """\
A real OpenStack (Keystone, Placement, Glance, Neutron, Cinder, Nova, Heat) on this machine, whose servers are
real nodes.

  install   OpenStack from PyPI into a virtual environment of its own
  up        start the cloud (installed and made first when it isn't there) and write its entries into clouds.yaml
  down      end all its processes; servers and databases stay on disk
  status    its programs and their memory; exit 1 when one doesn't run
  env       shell lines that make its ordinary user the OpenStack user of this shell
  clean     down, and remove servers, databases and logs; a fresh cloud is quickly made again (--all: nothing stays)
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"devcloud: {time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    try:
        return _run(options, say)
    except DevcloudError as error:
        print(f"devcloud: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"devcloud: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("devcloud: interrupted; `devcloud down` ends what has been started", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devcloud", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("install", "up", "down", "status", "env", "clean"))
    parser.add_argument(
        "--driver", choices=DRIVERS, default=ENGINE, help="engine: real nodes (root); fake: nothing boots"
    )
    parser.add_argument("--all", action="store_true", help="clean: everything, the virtual environment as well")
    return parser


def _run(options: argparse.Namespace, say: clouds.Say) -> int:
    cloud = Cloud.from_environment(os.environ, options.driver)
    if options.command == "install":
        install.ensure(cloud, say)
    elif options.command == "up":
        clouds.up(cloud, say)
        say(f"up; export OS_CLOUD={cloud.name} (in {clouds_yaml.file()})")
    elif options.command == "down":
        clouds.down(cloud)
    elif options.command == "status":
        return _status(cloud)
    elif options.command == "env":
        _environment(cloud)
    elif options.all:
        clouds.purge(cloud)
    else:
        clouds.clean(cloud)
    return 0


def _status(cloud: Cloud) -> int:
    rows = clouds.status(cloud)
    for name, pid, memory in rows:
        print(f"{name:10} {'down' if pid is None else f'pid {pid:<7} {memory // 1024:5} MiB'}")
    print(f"{'together':10} {'':11} {sum(row[2] for row in rows) // 1024:5} MiB")
    return 0 if all(pid is not None for _, pid, _ in rows) else 1


def _environment(cloud: Cloud) -> None:
    file = clouds_yaml.file()
    if not (cloud.folder / "passwords.json").exists() or not file.exists():
        raise DevcloudError("there is no devcloud", "devcloud/devcloud up")
    print(f"# The clouds {cloud.name} (project demo) and {cloud.name}-admin are in {file}")
    if "CM_DEVCLOUD_HOME" in os.environ:
        print(f"export OS_CLIENT_CONFIG_FILE={file}")
    print(f"export OS_CLOUD={cloud.name} no_proxy={cloud.address}${{no_proxy:+,$no_proxy}}")
