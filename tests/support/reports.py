"""A report with something of everything, names that would do harm to a terminal included."""

from __future__ import annotations

from swiftimgfs.control.report import (
    MethodLatency,
    MountFacts,
    RefusalCount,
    Report,
    RequestCount,
    Requests,
)
from swiftimgfs.fuse.failures import Refusal
from swiftimgfs.model.activity import ImageActivity
from swiftimgfs.reading.block_cache import CacheSnapshot
from swiftimgfs.reading.disk_cache import DiskSnapshot
from swiftimgfs.store.traffic import BUCKETS, RunningRequest
from swiftimgfs.writing.budget import DirtySnapshot

HOSTILE = "c/\x1b]0;owned\x07[bold]x[/bold][/]\n\u202e"
REPORT = Report(
    mount=MountFacts(
        source="env:",
        identity="demo:demo",
        account="http://swift/v1/AUTH_demo",
        mountpoint="/mnt/images",
        pid=42,
        uid=0,
        started=1000.0,
        version="0.1.0",
        is_read_only=False,
        state_directory="/var/lib/swiftimgfs",
    ),
    taken=1061.0,
    bytes_read=700,
    bytes_written=800,
    memory=CacheSnapshot(limit=1000, held=500, lent=100, hits=3, misses=1),
    disk=DiskSnapshot("/var/cache/x", limit=9000, used=5000, hits=1, misses=1, damaged=2),
    dirty=DirtySnapshot(memory=10, memory_limit=100, spooled=20, spool_limit=200, uploads=1),
    requests=Requests(
        counts=(RequestCount("GET", 206, 5), RequestCount("GET", 0, 1)),
        latencies=(MethodLatency("GET", (1,) * len(BUCKETS), 15, 3.5),),
        bytes_in=1000,
        bytes_out=2000,
        retries=2,
        running=(RunningRequest("PUT", "c", "seg", 100, 50, 0.5),),
    ),
    image_count=2,
    images=(
        ImageActivity(
            HOSTILE, 400, 1, is_written=True, is_waited_for=True, waiting=300, sent=100
        ),
        ImageActivity("c/read", 1000, 2, position=250, read=250),
    ),
    refused=(RefusalCount("read", "EIO", 4),),
    refusals=(Refusal(1050.0, "read", HOSTILE, "EIO", 503, "tx123", "no\x1b[2Jreason"),),
)
