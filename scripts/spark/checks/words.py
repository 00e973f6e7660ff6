"""Counts the words of a text of this machine with Spark, and compares; says on which hosts the tasks ran."""

import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pyspark.sql import SparkSession

TEXTS = sorted(Path("/usr/share/common-licenses").glob("GPL*")) or [Path(__file__)]


def hosts_and_words(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield each word with the host that saw it; slow enough for the others to get their share."""
    host = socket.gethostname()
    time.sleep(0.2)
    for line in lines:
        for word in re.findall(r"\w+", line):
            yield host, word


workers = sorted(os.environ["CM_WORKERS"].split())
session = SparkSession.builder.appName("check of cm").getOrCreate()
lines = [line for text in TEXTS for line in text.read_text().splitlines()]
if len(sys.argv) > 1:  # the text lies in HDFS
    rows = session.sparkContext.textFile(sys.argv[1], minPartitions=4 * len(workers))
else:
    rows = session.sparkContext.parallelize(lines, numSlices=4 * len(workers))
seen = rows.mapPartitions(hosts_and_words).map(lambda pair: (pair, 1)).reduceByKey(int.__add__, 2).collect()
session.stop()

counted: Counter[str] = Counter()
for (_, word), number in seen:
    counted[word] += number
if counted != Counter(re.findall(r"\w+", "\n".join(lines))):
    raise SystemExit("the counts differ")
hosts = sorted({host for (host, _), _ in seen})
if len(sys.argv) == 1 and hosts != workers:
    raise SystemExit(f"tasks ran on {' '.join(hosts)}, expected {' '.join(workers)}")
print(f"{len(counted)} words counted right on {len(hosts)} workers")
