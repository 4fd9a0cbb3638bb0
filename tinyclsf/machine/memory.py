"""How much memory there is."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_GROUPS, _GROUP_FOLDERS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes of memory that are free now, of the machine's and of what the control groups of this process may have."""
    return min([_of_the_machine(), *_of_groups()])


def _of_the_machine() -> int:
    """What the system says is free; if it does not say, half of all, or what any machine has."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 4 << 30
    else:  # noqa: RET505  # said, so that types are checked for each system
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _of_groups() -> Iterator[int]:
    """What each group leaves that this process is in, of both versions; files that it keeps in memory make room."""
    with contextlib.suppress(OSError):
        for line in _GROUPS.read_text().splitlines():
            _, kind, path = line.split(":", 2)
            if kind in ("", "memory"):
                limit, usage, prefix = ("limit_in_bytes", "usage_in_bytes", "total_") if kind else ("max", "current", "")
                root = _GROUP_FOLDERS / kind
                inside = root / path.lstrip("/")  # in a container this may be a path that only the machine has
                for folder in (inside, *inside.parents[: len(inside.parts) - len(root.parts)]):
                    with contextlib.suppress(OSError, ValueError):  # without a limit it says "max", or has no such file
                        most, used = (int((folder / f"memory.{name}").read_text()) for name in (limit, usage))
                        stat = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                        yield most - used + sum(int(stat[f"{prefix}{each}_file"]) for each in ("active", "inactive"))
