"""How long the pages of a listing alone take, with swiftclient: the limit of any `ls`.

A process of its own, so that nothing of the benchmark's disturbs it: it prints how many names
there were, and the seconds without those for starting and logging in.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.benchmarks.peers import st_variables
from tests.benchmarks.processes import run

if TYPE_CHECKING:
    from tests.benchmarks.endpoint import Endpoint

LIST_SECONDS = 160
LIST = """
import os, sys, time, swiftclient
client = swiftclient.Connection(*(os.environ[f"ST_{name}"] for name in ("AUTH", "USER", "KEY")))
client.get_auth()
started, count, marker = time.perf_counter(), 0, ""
while page := client.get_container(sys.argv[1], marker=marker, limit=10000)[1]:
    count, marker = count + len(page), page[-1]["name"]
print(count, time.perf_counter() - started)
"""


def list_with_swiftclient(endpoint: Endpoint, container: str) -> tuple[int, float]:
    """Return how many names a container has, and how many seconds its listing takes."""
    command = [sys.executable, "-c", LIST, container]
    count, seconds = run(command, LIST_SECONDS, st_variables(endpoint)).output.split()
    return int(count), float(seconds)
