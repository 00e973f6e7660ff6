"""Asks gmetad for all that it has: every node of the cluster reports, and nobody else does."""

import os
import socket
from xml.etree import ElementTree as ET

SILENCES = 4  # of the longest silence that a node promises; then Ganglia calls it dead

with socket.create_connection((os.environ["CM_MASTER_IP"], 8651), timeout=10) as connection:
    answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
hosts = {host.attrib["NAME"]: host for host in ET.fromstring(answer).iter("HOST")}  # noqa: S314  (gmetad wrote it)
nodes = set(os.environ["CM_NODES"].split())
if nodes != set(hosts):
    raise SystemExit(f"{' '.join(sorted(hosts))} report, expected {' '.join(sorted(nodes))}")
for name, host in sorted(hosts.items()):
    if (silent := int(host.attrib["TN"])) > SILENCES * int(host.attrib["TMAX"]):
        raise SystemExit(f"{name} is dead: silent for {silent} s")
    if not any(metric.attrib["NAME"] == "load_one" for metric in host.iter("METRIC")):
        raise SystemExit(f"{name} says nothing of its load yet")
print(f"{len(hosts)} nodes report")
