"""Programs that are run by somebody who is not root, and may still read this checkout."""

from __future__ import annotations

import os
import shutil

import pytest

NOBODY = 65534
READS = "dac_read_search"
# Before a command: who runs it then is like anybody but that the checkout may lie in a home.
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    f"--inh-caps=+{READS}",
    f"--ambient-caps=+{READS}",
)

needs_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="takes root, and setpriv"
)
