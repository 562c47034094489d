"""`python -m swiftimgfs`, the same as the `swiftimgfs` command."""

import sys

from swiftimgfs.cli import main

sys.exit(main())
