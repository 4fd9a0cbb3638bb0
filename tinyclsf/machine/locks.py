"""A lock on an open file, which the system takes back from a process that is killed."""

from __future__ import annotations

import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def lock(file: IO[bytes], *, shared: bool) -> None:
        """Lock a file, shared with those who lock it so; Windows shares no such lock.

        Raises: BlockingIOError if another one has locked it.
        """
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from error

    def unlock(file: IO[bytes]) -> None:
        """Give a lock back, where a process that was started since has the file open too."""
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock(file: IO[bytes], *, shared: bool) -> None:
        """Lock a file, shared with those who lock it so.

        Raises: BlockingIOError if another one has locked it.
        """
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def unlock(file: IO[bytes]) -> None:
        """Give a lock back, where a process that was started since has the file open too."""
        fcntl.flock(file, fcntl.LOCK_UN)
