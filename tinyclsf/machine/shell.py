"""Commands as a person pastes them into a shell."""

from __future__ import annotations

import sys
from pathlib import Path


def shell_text(*words: str | Path) -> str:
    """Words as they are written in a command, quoted where the system's own shell needs it."""
    texts = [str(word) for word in words]
    if sys.platform == "win32":
        import subprocess  # which --help need not wait for

        return subprocess.list2cmdline(texts)
    else:  # noqa: RET505  # said, so that types are checked for each system
        import shlex

        return shlex.join(texts)
