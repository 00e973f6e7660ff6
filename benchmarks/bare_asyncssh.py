"""What asyncssh takes for the same work with nothing around it: the least that `cm` can take.

Run as `python -m benchmarks.bare_asyncssh SITE.json run COMMAND` or `... push FILE REMOTE COUNT`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh

from cloudmesh_cluster.providers.local.engine import dial

AT_ONCE = 32


async def on_all(
    site: dict[str, Any], nodes: dict[str, str], work: Callable[[asyncssh.SSHClientConnection], Awaitable[object]]
) -> None:
    """Log in to each node and do the work; `nodes` gives addresses by name."""
    key = asyncssh.import_private_key(Path(site["key"]).read_bytes())
    host_keys = dict(line.split(" ", 1) for line in Path(site["known_hosts"]).read_text().splitlines())
    window = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, address: str) -> None:
        async with window:
            sock = dial.inner_socket(Path(site["engine"]))
            await asyncio.get_running_loop().sock_connect(sock, (address, 22))
            async with asyncssh.connect(
                sock=sock,
                config=None,
                username=site["user"],
                client_keys=[key],
                agent_path=None,
                known_hosts=([asyncssh.import_public_key(host_keys[f"cm-{name}"])], [], []),
                kex_algs=["curve25519-sha256"],
                encryption_algs=["aes128-gcm@openssh.com"],
                compression_algs=["none"],
            ) as connection:
                await work(connection)

    await asyncio.gather(*(one(name, address) for name, address in nodes.items()))


async def main(words: list[str]) -> None:
    """Run a command on all nodes, or push a file to the first of them."""
    site = json.loads(Path(words[0]).read_text())
    nodes = site["nodes"]
    if words[1] == "run":
        await on_all(site, nodes, lambda connection: connection.run(words[2], check=True))
    else:
        file, remote, count = words[2:]
        some = dict(list(nodes.items())[: int(count)])
        await on_all(site, some, lambda connection: asyncssh.scp(file, (connection, remote)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
