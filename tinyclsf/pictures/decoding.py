"""Many pictures at once: decoded by threads, straight into the rows of one array.

Threads, as most of the time goes into Pillow and PyTorch, which let others work meanwhile. A process would have to import both
first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinyclsf.pictures.picture import PictureError, read_bytes, read_file, without_warnings
from tinyclsf.progress.telling import tell_progress

if TYPE_CHECKING:
    from tinyclsf.modules import Fit

_CHUNK_FILES = 16  # that a thread decodes before it looks whether it shall go on
_TELL_SECONDS = 0.2


@dataclass(frozen=True)
class Decoding:
    """Pictures and what became of them: their pixels, why some could not be read, and digests of the files' bytes.

    `reasons` are by row, and a row of `out` that has one means nothing. Without `out` no pixels are kept.
    Shapes: out (n, channels, size, size); digests (n,), 0 where there is a reason.
    """

    files: Sequence[str]
    size: int
    channels: int
    fit: Fit
    out: NDArray[np.uint8] | None
    digests: NDArray[np.uint64]
    reasons: dict[int, str] = field(default_factory=dict)

    def decode(self, row: int) -> None:
        """Decode one picture."""
        try:
            data = read_file(self.files[row])
            pixels = read_bytes(data, self.size, self.channels, self.fit)
        except PictureError as error:
            self.reasons[row] = str(error)
            return
        self.digests[row] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
        if self.out is not None:
            self.out[row] = pixels


def decode_pictures(
    files: Sequence[str], size: int, channels: int, out: NDArray[np.uint8] | None = None, *, fit: Fit = "crop"
) -> Decoding:
    """Decode pictures into the rows of `out` as `read_picture` does, or without it only try whether they can be read.

    As many threads as there are processors share the work.
    Shapes: out (n, channels, size, size).
    """
    decoding = Decoding(files, size, channels, fit, out, np.zeros(len(files), np.uint64))
    done, next_word = 0, 0.0
    # Closed, so that the threads end even where a listener raises.
    with without_warnings(), contextlib.closing(_decode_all(decoding)) as counts:
        for count in counts:
            done += count
            if done == len(files) or time.monotonic() >= next_word:
                tell_progress("decoding pictures", done, len(files))
                next_word = time.monotonic() + _TELL_SECONDS
    return decoding


def processor_count() -> int:
    """How many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:  # noqa: RET505  # said, so that types are checked for each system
        return os.cpu_count() or 1


def _decode_all(decoding: Decoding) -> Generator[int, None, None]:
    rows = range(len(decoding.files))
    chunks = [rows[at : at + _CHUNK_FILES] for at in range(0, len(rows), _CHUNK_FILES)]
    waiting: queue.SimpleQueue[range] = queue.SimpleQueue()
    for chunk in chunks:
        waiting.put(chunk)
    outcomes: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()

    def work() -> None:
        """Decode one chunk after the other, until there is none."""
        with contextlib.suppress(queue.Empty):
            while True:
                chunk = waiting.get_nowait()
                try:
                    for row in chunk:
                        decoding.decode(row)
                except Exception as error:  # nobody would hear of it in a thread
                    outcomes.put(error)
                else:
                    outcomes.put(len(chunk))

    # Not an executor: with a submission for each chunk, Ctrl-C may come while this thread holds the executor's lock, and
    # nothing would ever end.
    threads = [Thread(target=work, daemon=True) for _ in range(min(processor_count(), len(chunks)))]
    try:
        for thread in threads:
            thread.start()
        for _ in chunks:
            outcome = outcomes.get()
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
    finally:
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
