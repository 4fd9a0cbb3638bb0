"""Files that are whole or not there: written beside, flushed to the disk, renamed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tinyclsf.errors import StorageError
from tinyclsf.machine.json_text import json_text

StrPath = str | os.PathLike[str]

_PIECE = 1 << 26  # bytes


def write_whole(path: Path, write: Callable[[IO[bytes]], object], *, keep_previous: Path | None = None) -> None:
    """Write a file so that its name holds either the old content or the new, whatever happens in between.

    What the name held before goes on under `keep_previous`, where that is given.
    Raises: StorageError if it cannot be written.
    """
    with storing(path):
        file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=_prefix(path), delete=False)  # noqa: SIM115  # closed below
        sink = _Sink(file)
        try:
            with file:
                write(sink)  # type: ignore[arg-type]  # it writes, which is all that is asked of it
                file.flush()
                os.fsync(file.fileno())
            os.chmod(file.name, 0o666 & ~_umask())
            if keep_previous is not None and path.exists():
                _keep(path, keep_previous)
            _replace(file.name, path)
        except BaseException as error:
            Path(file.name).unlink(missing_ok=True)
            # A library that was writing may have made an error of its own from the disk's.
            if sink.error is not None and isinstance(error, Exception):
                raise sink.error from error
            raise
        if sys.platform != "win32":  # which opens no folder
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name itself has to reach the disk too
            finally:
                os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text as `write_whole` writes a file, in UTF-8; what of a path is none is written as an escape."""
    write_whole(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document as `write_whole` writes a file, with one key a line."""
    write_text(path, json_text(content, readable=True) + "\n")  # those escapes are JSON's own


def check_target(path: StrPath) -> None:
    """Find out before long work whether a file can be written there; nothing is.

    Raises: StorageError if the name is that of a folder, or its folder is not there or takes no files.
    """
    if os.path.isdir(path):
        raise StorageError(f"cannot write {path}: it is a folder; give the name of a file")
    try:
        tempfile.TemporaryFile(dir=Path(path).parent).close()
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; give a name in a folder that can be written to") from error


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn what the system says where a file cannot be written into a StorageError that names it."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; what was there before is unchanged") from error


def remove_torn(path: Path) -> None:
    """Remove what writers of a file left behind when they were killed; no such writer may be at work."""
    for left in path.parent.glob(f"{_prefix(path)}*"):
        left.unlink(missing_ok=True)


class _Sink:
    """A file that is only written to, and remembers what the disk said.

    What is large goes to the disk piece by piece, so that it does not take the system's memory for files, which data needs.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unsynced = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            for start in range(0, len(data), _PIECE):
                piece = memoryview(data)[start : start + _PIECE]
                self._file.write(piece)
                self._unsynced += len(piece)
                if sys.platform == "linux" and self._unsynced >= _PIECE:
                    self._file.flush()
                    os.fdatasync(self._file.fileno())
                    os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    self._unsynced = 0
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def _keep(path: Path, previous: Path) -> None:
    """Give a file a second name, so that the first one is never without a file; where there are no links, rename it."""
    linked = previous.with_name(_prefix(path) + "link")
    try:
        linked.unlink(missing_ok=True)
        os.link(path, linked)
        _replace(linked, previous)
    except OSError:
        _replace(path, previous)


def _replace(source: StrPath, target: Path) -> None:
    """Rename over what is there; Windows refuses that while somebody reads it, which takes a moment."""
    for seconds in (0.01, 0.05, 0.25, 1.0) if sys.platform == "win32" else ():
        with contextlib.suppress(PermissionError):
            return os.replace(source, target)
        time.sleep(seconds)
    return os.replace(source, target)


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
