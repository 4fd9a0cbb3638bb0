"""How much memory there is."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def free_memory() -> int:
    """Bytes of memory that are free now; if the system does not say, half of all, or what any machine has."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 4 << 30
    else:  # noqa: RET505  # said, so that types are checked for each system
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
