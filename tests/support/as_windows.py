"""`tinyclsf` as it would run on Windows, on a machine that is none: without what Windows lacks, and with what it refuses.

The libraries below are those of this system: they are imported before, and go on with what they need of it.
"""

from __future__ import annotations

import fcntl
import importlib
import io
import os
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARIES = (
    "PIL.Image",
    "click",
    "jinja2",
    "matplotlib.backends.backend_svg",
    "numpy",
    "rich.progress",
    "safetensors.torch",
    "torch",
)
LACKING = {
    os: ("fdatasync", "posix_fadvise", "sched_getaffinity", "sysconf", "getuid", "fork", "mkfifo"),
    signal: ("pthread_sigmask", "sigwaitinfo", "sigwait", "setitimer", "alarm"),
}


def lacking(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """What tinyclsf does not find; the libraries below go on with it, as they are this system's."""

    def call(*given: Any, **options: Any) -> Any:
        if sys._getframe(1).f_globals["__name__"].startswith("tinyclsf"):
            raise AttributeError(f"Windows has no {name}")
        return function(*given, **options)

    return call


def open_here(path: str) -> bool:
    """Whether this process has a file open."""
    real = os.path.realpath(path)
    return any(os.path.realpath(each) == real for each in Path("/proc/self/fd").iterdir())


def unless_open(function: Callable[..., Any]) -> Callable[..., Any]:
    """What fails where a file that it moves or removes is open."""

    def call(path: Any, *others: Any, **options: Any) -> Any:
        own = sys._getframe(1).f_globals["__name__"] == "tempfile"  # which there has the system remove its files
        if not own and any(isinstance(each, (str, os.PathLike)) and open_here(os.fspath(each)) for each in (path, *others)):
            raise PermissionError(13, "The process cannot access the file because it is being used by another process", path)
        return function(path, *others, **options)

    return call


def no_folder(function: Callable[..., int]) -> Callable[..., int]:
    """`os.open`, which opens no folder there."""

    def call(path: Any, flags: int, *others: Any, **options: Any) -> int:
        if isinstance(path, (str, os.PathLike)) and os.path.isdir(path) and not options:
            raise PermissionError(13, "Permission denied", path)
        return function(path, flags, *others, **options)

    return call


def locking(number: int, mode: int, count: int) -> None:
    """`msvcrt.locking`, for what its modes mean: 0 gives back, 2 locks at once or fails."""
    try:
        fcntl.flock(number, fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


def become() -> None:
    """Make this process one that tinyclsf takes for Windows."""
    for library in LIBRARIES:
        importlib.import_module(library)
    msvcrt: Any = types.ModuleType("msvcrt")
    msvcrt.LK_UNLCK, msvcrt.LK_NBLCK, msvcrt.locking = 0, 2, locking
    hidden: dict[str, Any] = {"msvcrt": msvcrt, "fcntl": None, "resource": None, "pwd": None, "termios": None}
    sys.modules.update(hidden)
    for module, names in LACKING.items():
        for name in names:
            setattr(module, name, lacking(name, getattr(module, name)))
    for name in ("replace", "rename", "unlink", "remove"):
        setattr(os, name, unless_open(getattr(os, name)))
    os.open = no_folder(os.open)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="cp1252")
    del signal.SIGHUP
    signal.SIGBREAK = signal.SIGUSR1  # type: ignore[attr-defined]  # that nothing else here uses
    sys.platform = "win32"
