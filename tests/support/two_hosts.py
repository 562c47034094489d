"""What one host stores and another looks at."""

from __future__ import annotations

import os

SEGMENTS = "segment_size=64K,large_object_size=256K,timeout=10"
SMALL = b"small"
LARGE = os.urandom(300_000)
