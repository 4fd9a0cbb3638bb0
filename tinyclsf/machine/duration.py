"""How long something takes."""

from __future__ import annotations

import time
from types import TracebackType


class DurationTime:
    """Print how long a `with` block took, and keep it: `with DurationTime("training") as timer:` prints "training: 1.23 s".

    Units: `seconds`, of wall-clock time; 0 until the block has ended.
    """

    def __init__(self, what: str = "duration") -> None:
        self.what = what
        self.seconds = 0.0

    def __enter__(self) -> DurationTime:
        self._start = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._start
        print(f"{self.what}: {self.seconds:.2f} s")
